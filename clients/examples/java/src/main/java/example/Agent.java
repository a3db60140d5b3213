package example;

import aisecops.v1.ApprovalOuterClass.ApprovalState;
import aisecops.v1.ApprovalServiceGrpc;
import aisecops.v1.ApprovalServiceOuterClass.WaitRequest;
import aisecops.v1.DecisionOuterClass.Outcome;
import aisecops.v1.DecisionServiceGrpc;
import aisecops.v1.DecisionServiceOuterClass.DecideRequest;
import aisecops.v1.DecisionServiceOuterClass.DecideResponse;
import aisecops.v1.ExecutionServiceGrpc;
import aisecops.v1.ExecutionServiceOuterClass.CompleteRequest;
import aisecops.v1.ExecutionServiceOuterClass.ExecutionOutcome;
import aisecops.v1.ExecutionServiceOuterClass.ExecutionReport;
import aisecops.v1.ExecutionServiceOuterClass.RedeemRequest;
import aisecops.v1.Plan.ExecutionPlan;
import aisecops.v1.Plan.Step;
import aisecops.v1.Provenance.Source;
import aisecops.v1.Provenance.SourceKind;
import com.google.gson.Gson;
import com.google.protobuf.ByteString;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** An agent on gRPC: HOST:PORT TOKEN_FILE SCENARIOS. Whatever goes wrong, the call does not run. */
public final class Agent {
  record Influence(String kind, String content, String tool) {}

  record Scenario(
      String name, String intent, String tool, String arguments, String swapped, List<Influence> sources) {}

  private final Channel channel;

  private Agent(Channel channel) {
    this.channel = channel;
  }

  private DecideResponse decide(Scenario scenario, String approvalId) {
    var step =
        Step.newBuilder()
            .setStepId("call")
            .setTool(scenario.tool())
            .setArgumentsJson(ByteString.copyFromUtf8(scenario.arguments()));
    var plan =
        ExecutionPlan.newBuilder().setIntent(scenario.intent()).setEnvironment("production").addSteps(step);
    for (var source : scenario.sources()) {
      plan.addSources(
          Source.newBuilder()
              .setSourceId("s" + plan.getSourcesCount())
              .setKind(SourceKind.valueOf(source.kind()))
              .setContent(ByteString.copyFromUtf8(source.content()))
              .setTool(source.tool() == null ? "" : source.tool()));
    }
    var request =
        DecideRequest.newBuilder()
            .setPlan(plan)
            .setIdempotencyKey(UUID.randomUUID().toString())
            .setApprovalId(approvalId)
            .build();
    return DecisionServiceGrpc.newBlockingStub(channel).withDeadlineAfter(1, TimeUnit.MINUTES).decide(request);
  }

  private boolean isApproved(String approvalId) {
    var stub = ApprovalServiceGrpc.newBlockingStub(channel).withDeadlineAfter(1, TimeUnit.MINUTES);
    var state = ApprovalState.APPROVAL_STATE_UNSPECIFIED;
    var states = stub.wait(WaitRequest.newBuilder().setApprovalId(approvalId).build());
    while (states.hasNext()) {
      state = states.next().getApproval().getState();
    }
    return state == ApprovalState.APPROVAL_STATE_GRANTED;
  }

  private String call(Scenario scenario) throws Exception {
    var answer = decide(scenario, "");
    if (answer.getDecision().getOutcome() == Outcome.OUTCOME_REQUIRE_APPROVAL) {
      System.out.println(scenario.name() + ": waits for people");
      if (!isApproved(answer.getApprovalId())) {
        return "not approved";
      }
      answer = decide(scenario, answer.getApprovalId());
    }
    var decision = answer.getDecision();
    if (decision.getOutcome() != Outcome.OUTCOME_ALLOW || answer.getGrantsCount() != 1) {
      return "blocked by " + (decision.getFindingsCount() > 0 ? decision.getFindings(0).getRule() : "policy");
    }
    var grant = answer.getGrants(0);
    if (grant.getObligationsCount() > 0) {
      return "not run, cannot " + grant.getObligations(0).getKind();
    }
    // Exactly what will be sent to the tool; these are canonical (RFC 8785) as they stand.
    var arguments = scenario.swapped() == null ? scenario.arguments() : scenario.swapped();
    var sha256 = MessageDigest.getInstance("SHA-256").digest(arguments.getBytes(StandardCharsets.UTF_8));
    var digest = HexFormat.of().formatHex(sha256);
    var executions = ExecutionServiceGrpc.newBlockingStub(channel).withDeadlineAfter(1, TimeUnit.MINUTES);
    try {
      executions.redeem(
          RedeemRequest.newBuilder()
              .setToken(grant.getToken())
              .setRedemptionKey(UUID.randomUUID().toString())
              .setTool(scenario.tool())
              .setArgumentsSha256(digest)
              .build());
    } catch (StatusRuntimeException error) {
      return "not run, the grant is refused (" + error.getStatus().getCode() + ")";
    }
    // The tool runs here.
    var report =
        ExecutionReport.newBuilder()
            .setOutcome(ExecutionOutcome.EXECUTION_OUTCOME_EXECUTED)
            .setTool(scenario.tool())
            .setArgumentsSha256(digest);
    executions.complete(CompleteRequest.newBuilder().setGrantId(grant.getGrantId()).setReport(report).build());
    return scenario.tool() + " ran";
  }

  private static void run(String address, String token, Scenario scenario) throws Exception {
    var metadata = new Metadata();
    metadata.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
    ManagedChannel connection = ManagedChannelBuilder.forTarget("dns:///" + address).usePlaintext().build();
    String told;
    try {
      var bearer = MetadataUtils.newAttachHeadersInterceptor(metadata);
      told = new Agent(ClientInterceptors.intercept(connection, bearer)).call(scenario);
    } catch (StatusRuntimeException error) {
      told = "not run, no decision (" + error.getStatus().getCode() + ")";
    } finally {
      connection.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
    System.out.println(scenario.name() + ": " + told);
  }

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 3) {
      throw new IllegalArgumentException("HOST:PORT TOKEN_FILE SCENARIOS");
    }
    var token = Files.readString(Path.of(arguments[1])).strip();
    for (var scenario : new Gson().fromJson(Files.readString(Path.of(arguments[2])), Scenario[].class)) {
      run(arguments[0], token, scenario);
    }
    run("127.0.0.1:1", token, new Scenario("nobody answers", "", "tickets/read", "{}", null, List.of()));
  }
}
