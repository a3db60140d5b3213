package main

import (
	"encoding/json"
	"math"
	"math/rand"
	"os"
	"sort"
	"sync"
	"syscall"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// outcomes are latencies from the moment at which a request should have been sent, by how it ended.
type outcomes struct {
	sync.Mutex
	of    map[string][]time.Duration
	first string
	// until is when each caller may come again, as it was told; it is kept to where callers heed.
	until []time.Time
}

func (o *outcomes) add(caller int, err error, took time.Duration) {
	o.Lock()
	defer o.Unlock()
	how := "answered"
	if err != nil {
		how = "failed"
		if status.Code(err) == codes.ResourceExhausted {
			how = "refused"
			// Not all at the same moment: that would be the next flood.
			told := time.Duration(float64(comeAgain(err)) * (0.5 + rand.Float64()/2))
			o.until[caller] = time.Now().Add(told)
		} else if o.first == "" {
			o.first = err.Error()
		}
	}
	o.of[how] = append(o.of[how], took)
}

// held tells whether a caller keeps a request back, because it was told to come later.
func (o *outcomes) held(caller int) bool {
	o.Lock()
	defer o.Unlock()
	return time.Now().Before(o.until[caller])
}

func comeAgain(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// open sends requests at the moments of a Poisson process, whether or not earlier ones were answered.
// Callers that heed send nothing until they were told to come again, and what they keep back counts as held.
func open(callers []call, bodies [][]byte, rate float64, length time.Duration, seed int64, heed bool) {
	random := rand.New(rand.NewSource(seed))
	found := outcomes{of: map[string][]time.Duration{}, until: make([]time.Time, len(callers))}
	held, worked := 0, processor()
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
		caller, body := offered%len(callers), bodies[offered%len(bodies)]
		if heed && found.held(caller) {
			held++
			continue
		}
		wait.Add(1)
		go func() {
			defer wait.Done()
			err := callers[caller](body)
			found.add(caller, err, time.Since(intended))
		}()
	}
	wait.Wait()
	result := map[string]any{"offered": offered, "seconds": length.Seconds(), "took": time.Since(began).Seconds(), "first_failure": found.first,
		"behind_ms": milliseconds(behind), "held": held, "generator": (processor() - worked).Seconds()}
	for _, how := range []string{"answered", "refused", "failed"} {
		result[how] = summary(found.of[how])
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

// processor returns the processor time of this process.
func processor() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		fail("getrusage: %v", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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
