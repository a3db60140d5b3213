package main

import (
	"encoding/json"
	"math"
	"math/rand"
	"os"
	"sort"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// outcomes are latencies from the moment at which a request should have been sent, by how it ended.
type outcomes struct {
	sync.Mutex
	of    map[string][]time.Duration
	first string
}

func (o *outcomes) add(err error, took time.Duration) {
	o.Lock()
	defer o.Unlock()
	how := "answered"
	if err != nil {
		how = "failed"
		if status.Code(err) == codes.ResourceExhausted {
			how = "refused"
		} else if o.first == "" {
			o.first = err.Error()
		}
	}
	o.of[how] = append(o.of[how], took)
}

// open sends requests at the moments of a Poisson process, whether or not earlier ones were answered.
func open(callers []call, bodies [][]byte, rate float64, length time.Duration, seed int64) {
	random := rand.New(rand.NewSource(seed))
	found := outcomes{of: map[string][]time.Duration{}}
	var wait sync.WaitGroup
	began := time.Now()
	offered, behind := 0, time.Duration(0)
	for at := time.Duration(0); ; offered++ {
		at += time.Duration(random.ExpFloat64() / rate * float64(time.Second))
		if at >= length {
			break
		}
		intended := began.Add(at)
		time.Sleep(time.Until(intended))
		behind = max(behind, time.Since(intended))
		caller, body := callers[offered%len(callers)], bodies[offered%len(bodies)]
		wait.Add(1)
		go func() {
			defer wait.Done()
			err := caller(body)
			found.add(err, time.Since(intended))
		}()
	}
	wait.Wait()
	result := map[string]any{"offered": offered, "seconds": length.Seconds(), "took": time.Since(began).Seconds(), "first_failure": found.first,
		"behind_ms": milliseconds(behind)}
	for _, how := range []string{"answered", "refused", "failed"} {
		result[how] = summary(found.of[how])
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

func summary(latencies []time.Duration) map[string]any {
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	at := func(share float64) float64 {
		if len(latencies) == 0 {
			return 0
		}
		return milliseconds(latencies[int(share*float64(len(latencies)-1))])
	}
	return map[string]any{"count": len(latencies), "p50_ms": at(0.5), "p99_ms": at(0.99), "most_ms": at(1)}
}

func milliseconds(length time.Duration) float64 {
	return math.Round(float64(length.Microseconds())/10) / 100
}
