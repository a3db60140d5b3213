// Loadgen sends recorded requests to one target, in a closed or an open loop, and prints latencies as JSON.
//
// It knows nothing of the API: gRPC payloads are bytes that the benchmark prepared, so that the client costs the
// same for every target.
//
//	loadgen -target rest -socket opa.sock -path /v1/data/x -payloads docs.bin -clients 1 -requests 2000
//	loadgen -target grpc -socket aisecops.sock -path /pkg.Service/Method -payloads plans.bin -token T
//	loadgen -target grpc -rate 3000 -seconds 60 …   an open loop: requests come when they come (open.go)
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// raw passes bytes through gRPC untouched.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

type call func(payload []byte) error

func main() {
	target := flag.String("target", "rest", "rest or grpc")
	socket := flag.String("socket", "", "Unix socket of the target")
	path := flag.String("path", "", "URL path or full gRPC method")
	payloads := flag.String("payloads", "", "file of length-prefixed payloads (big-endian uint32)")
	clients := flag.Int("clients", 1, "callers in a closed loop")
	requests := flag.Int("requests", 1000, "requests in all")
	warmup := flag.Int("warmup", 100, "requests before counting")
	token := flag.String("token", "", "bearer token for gRPC")
	expect := flag.String("expect", `"result"`, "what each REST answer must contain")
	rate := flag.Float64("rate", 0, "requests a second in an open loop over all clients, for -seconds; 0 for a closed loop")
	seconds := flag.Float64("seconds", 10, "how long an open loop lasts")
	seed := flag.Int64("seed", 1, "seed of the moments of an open loop")
	heed := flag.Bool("heed", false, "in an open loop, send nothing until the time that a refusal told is over")
	flag.Parse()

	bodies, err := read(*payloads)
	if err != nil || len(bodies) == 0 {
		fail("payloads: %v", err)
	}
	callers := make([]call, *clients)
	for i := range callers {
		switch *target {
		case "rest":
			callers[i] = rest(*socket, *path, *expect)
		case "grpc":
			callers[i] = unary(*socket, *path, *token)
		default:
			fail("unknown target %q", *target)
		}
	}
	run(callers, bodies, *warmup)
	if *rate > 0 {
		open(callers, bodies, *rate, time.Duration(*seconds*float64(time.Second)), *seed, *heed)
		return
	}
	started := time.Now()
	latencies, failures, first := run(callers, bodies, *requests)
	report(latencies, failures, first, time.Since(started))
}

func read(name string) ([][]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := bufio.NewReader(file)
	var all [][]byte
	for {
		var size uint32
		if err := binary.Read(reader, binary.BigEndian, &size); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(reader, body); err != nil {
			return nil, err
		}
		all = append(all, body)
	}
}

func rest(socket, path, expect string) call {
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 1,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	return func(payload []byte) error {
		reply, err := client.Post("http://engine"+path, "application/json", bytes.NewReader(payload))
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		body, err := io.ReadAll(reply.Body)
		if err == nil && (reply.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(expect))) {
			err = fmt.Errorf("status %d: %.200s", reply.StatusCode, body)
		}
		return err
	}
}

func unary(socket, method, token string) call {
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		fail("dial: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
	return func(payload []byte) error {
		deadline, cancel := context.WithTimeout(ctx, 60*time.Second)
		defer cancel()
		var reply []byte
		return connection.Invoke(deadline, method, &payload, &reply)
	}
}

func run(callers []call, bodies [][]byte, requests int) ([]time.Duration, int64, error) {
	var next, failures atomic.Int64
	var first atomic.Value
	var wait sync.WaitGroup
	parts := make([][]time.Duration, len(callers))
	for i, caller := range callers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for at := next.Add(1) - 1; at < int64(requests); at = next.Add(1) - 1 {
				started := time.Now()
				if err := caller(bodies[at%int64(len(bodies))]); err != nil {
					failures.Add(1)
					first.CompareAndSwap(nil, err.Error())
				}
				parts[i] = append(parts[i], time.Since(started))
			}
		}()
	}
	wait.Wait()
	var all []time.Duration
	for _, part := range parts {
		all = append(all, part...)
	}
	if text, ok := first.Load().(string); ok {
		return all, failures.Load(), fmt.Errorf("%s", text)
	}
	return all, failures.Load(), nil
}

func report(latencies []time.Duration, failures int64, first error, elapsed time.Duration) {
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	at := func(share float64) float64 {
		return float64(latencies[int(share*float64(len(latencies)-1))].Microseconds())
	}
	result := map[string]any{
		"requests": len(latencies), "failures": failures, "seconds": elapsed.Seconds(),
		"rate": float64(len(latencies)) / elapsed.Seconds(), "p50_us": at(0.5), "p99_us": at(0.99), "first_failure": "",
	}
	if first != nil {
		result["first_failure"] = first.Error()
	}
	_ = json.NewEncoder(os.Stdout).Encode(result)
}

func fail(format string, parts ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", parts...)
	os.Exit(2)
}
