// An agent on gRPC: agent HOST:PORT TOKEN_FILE SCENARIOS. Whatever goes wrong, the call does not run.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"example.org/aisecops-agent/gen"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type scenario struct {
	Name, Intent, Tool, Arguments, Swapped string
	Sources                                []struct{ Kind, Content, Tool string }
}

type agent struct {
	decisions  gen.DecisionServiceClient
	approvals  gen.ApprovalServiceClient
	executions gen.ExecutionServiceClient
}

func (a agent) decide(ctx context.Context, s scenario, approval string) (*gen.DecideResponse, error) {
	step := &gen.Step{StepId: "call", Tool: s.Tool, ArgumentsJson: []byte(s.Arguments)}
	plan := &gen.ExecutionPlan{Intent: s.Intent, Environment: "production", Steps: []*gen.Step{step}}
	for at, source := range s.Sources {
		plan.Sources = append(plan.Sources, &gen.Source{
			SourceId: fmt.Sprintf("s%d", at),
			Kind:     gen.SourceKind(gen.SourceKind_value[source.Kind]),
			Content:  []byte(source.Content),
			Tool:     source.Tool,
		})
	}
	return a.decisions.Decide(ctx, &gen.DecideRequest{Plan: plan, IdempotencyKey: rand.Text(), ApprovalId: approval})
}

func (a agent) approved(ctx context.Context, id string) (bool, error) {
	states, err := a.approvals.Wait(ctx, &gen.WaitRequest{ApprovalId: id})
	if err != nil {
		return false, err
	}
	for last := gen.ApprovalState_APPROVAL_STATE_UNSPECIFIED; ; {
		answer, err := states.Recv()
		if errors.Is(err, io.EOF) {
			return last == gen.ApprovalState_APPROVAL_STATE_GRANTED, nil
		}
		if err != nil {
			return false, err
		}
		last = answer.GetApproval().GetState()
	}
}

func (a agent) call(ctx context.Context, s scenario) (string, error) {
	answer, err := a.decide(ctx, s, "")
	if err != nil {
		return "", err
	}
	if answer.GetDecision().GetOutcome() == gen.Outcome_OUTCOME_REQUIRE_APPROVAL {
		fmt.Printf("%s: waits for people\n", s.Name)
		granted, err := a.approved(ctx, answer.ApprovalId)
		if err != nil {
			return "", err
		}
		if !granted {
			return "not approved", nil
		}
		if answer, err = a.decide(ctx, s, answer.ApprovalId); err != nil {
			return "", err
		}
	}
	if answer.GetDecision().GetOutcome() != gen.Outcome_OUTCOME_ALLOW || len(answer.Grants) != 1 {
		for _, found := range answer.GetDecision().GetFindings() {
			return "blocked by " + found.Rule, nil
		}
		return "blocked by policy", nil
	}
	grant := answer.Grants[0]
	for _, obligation := range grant.Obligations {
		return "not run, cannot " + obligation.Kind, nil
	}
	// Exactly what will be sent to the tool; these are canonical (RFC 8785) as they stand.
	arguments := s.Arguments
	if s.Swapped != "" {
		arguments = s.Swapped
	}
	sum := sha256.Sum256([]byte(arguments))
	digest := hex.EncodeToString(sum[:])
	redeem := &gen.RedeemRequest{Token: grant.Token, RedemptionKey: rand.Text(), Tool: s.Tool, ArgumentsSha256: digest}
	if _, err := a.executions.Redeem(ctx, redeem); err != nil {
		return fmt.Sprintf("not run, the grant is refused (%s)", name(err)), nil
	}
	// The tool runs here.
	report := &gen.ExecutionReport{
		Outcome:         gen.ExecutionOutcome_EXECUTION_OUTCOME_EXECUTED,
		Tool:            s.Tool,
		ArgumentsSha256: digest,
	}
	if _, err := a.executions.Complete(ctx, &gen.CompleteRequest{GrantId: grant.GrantId, Report: report}); err != nil {
		return "", err
	}
	return s.Tool + " ran", nil
}

// name returns the code as every gRPC library but this one writes it: FAILED_PRECONDITION.
func name(err error) string {
	var text strings.Builder
	for at, letter := range status.Code(err).String() {
		if at > 0 && letter >= 'A' && letter <= 'Z' {
			text.WriteByte('_')
		}
		text.WriteRune(letter)
	}
	return strings.ToUpper(text.String())
}

func run(address, token string, s scenario) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	known := agent{
		gen.NewDecisionServiceClient(connection),
		gen.NewApprovalServiceClient(connection),
		gen.NewExecutionServiceClient(connection),
	}
	told, err := known.call(ctx, s)
	if status.Code(err) != codes.OK {
		told = fmt.Sprintf("not run, no decision (%s)", name(err))
	}
	fmt.Printf("%s: %s\n", s.Name, told)
	return nil
}

func main() {
	if err := all(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func all(arguments []string) error {
	if len(arguments) != 3 {
		return errors.New("agent HOST:PORT TOKEN_FILE SCENARIOS")
	}
	token, err := os.ReadFile(arguments[1])
	if err != nil {
		return err
	}
	data, err := os.ReadFile(arguments[2])
	if err != nil {
		return err
	}
	var scenarios []scenario
	if err := json.Unmarshal(data, &scenarios); err != nil {
		return err
	}
	bearer := strings.TrimSpace(string(token))
	for _, s := range scenarios {
		if err := run(arguments[0], bearer, s); err != nil {
			return err
		}
	}
	return run("127.0.0.1:1", bearer, scenario{Name: "nobody answers", Tool: "tickets/read", Arguments: "{}"})
}
