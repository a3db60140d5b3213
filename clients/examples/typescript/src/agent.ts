// An agent on gRPC: node dist/agent.js HOST:PORT TOKEN_FILE SCENARIOS. Whatever goes wrong, the call does not run.

import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { ApprovalState } from "./gen/aisecops/v1/approval_pb.js";
import { ApprovalService } from "./gen/aisecops/v1/approval_service_pb.js";
import { Outcome } from "./gen/aisecops/v1/decision_pb.js";
import { DecisionService } from "./gen/aisecops/v1/decision_service_pb.js";
import { ExecutionOutcome, ExecutionService } from "./gen/aisecops/v1/execution_service_pb.js";
import { SourceKind } from "./gen/aisecops/v1/provenance_pb.js";

interface Scenario {
  name: string;
  intent: string;
  tool: string;
  arguments: string;
  swapped?: string;
  sources: { kind: string; content: string; tool?: string }[];
}

const bytes = (text: string) => new TextEncoder().encode(text);
const kindOf = (name: string) => SourceKind[name.replace("SOURCE_KIND_", "") as keyof typeof SourceKind];
// FAILED_PRECONDITION, as every gRPC library but this one writes it.
const nameOf = (error: unknown) =>
  Code[ConnectError.from(error).code].replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

async function decide(transport: Transport, scenario: Scenario, approvalId = "") {
  return createClient(DecisionService, transport).decide({
    plan: {
      intent: scenario.intent,
      environment: "production",
      steps: [{ stepId: "call", tool: scenario.tool, argumentsJson: bytes(scenario.arguments) }],
      sources: scenario.sources.map((source, at) => ({
        sourceId: `s${at}`,
        kind: kindOf(source.kind),
        content: bytes(source.content),
        tool: source.tool ?? "",
      })),
    },
    idempotencyKey: randomUUID(),
    approvalId,
  });
}

async function isApproved(transport: Transport, approvalId: string): Promise<boolean> {
  let state = ApprovalState.UNSPECIFIED;
  for await (const answer of createClient(ApprovalService, transport).wait({ approvalId })) {
    state = answer.approval?.state ?? ApprovalState.UNSPECIFIED;
  }
  return state === ApprovalState.GRANTED;
}

async function call(transport: Transport, scenario: Scenario): Promise<string> {
  let answer = await decide(transport, scenario);
  if (answer.decision?.outcome === Outcome.REQUIRE_APPROVAL) {
    console.log(`${scenario.name}: waits for people`);
    if (!(await isApproved(transport, answer.approvalId))) return "not approved";
    answer = await decide(transport, scenario, answer.approvalId);
  }
  const [grant, ...more] = answer.grants;
  if (answer.decision?.outcome !== Outcome.ALLOW || grant === undefined || more.length > 0) {
    return `blocked by ${answer.decision?.findings[0]?.rule ?? "policy"}`;
  }
  const [obligation] = grant.obligations;
  if (obligation !== undefined) return `not run, cannot ${obligation.kind}`;
  // Exactly what will be sent to the tool; these are canonical (RFC 8785) as they stand.
  const digest = createHash("sha256").update(scenario.swapped ?? scenario.arguments).digest("hex");
  const executions = createClient(ExecutionService, transport);
  try {
    await executions.redeem({
      token: grant.token,
      redemptionKey: randomUUID(),
      tool: scenario.tool,
      argumentsSha256: digest,
    });
  } catch (error) {
    return `not run, the grant is refused (${nameOf(error)})`;
  }
  // The tool runs here.
  const report = { outcome: ExecutionOutcome.EXECUTED, tool: scenario.tool, argumentsSha256: digest };
  await executions.complete({ grantId: grant.grantId, report });
  return `${scenario.tool} ran`;
}

async function run(address: string, token: string, scenario: Scenario): Promise<void> {
  const transport = createGrpcTransport({
    baseUrl: `http://${address}`,
    defaultTimeoutMs: 60_000,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  let told: string;
  try {
    told = await call(transport, scenario);
  } catch (error) {
    told = `not run, no decision (${nameOf(error)})`;
  }
  console.log(`${scenario.name}: ${told}`);
}

const [address, tokenFile, scenarioFile] = process.argv.slice(2);
if (address === undefined || tokenFile === undefined || scenarioFile === undefined) {
  throw new Error("HOST:PORT TOKEN_FILE SCENARIOS");
}
const token = readFileSync(tokenFile, "utf8").trim();
for (const scenario of JSON.parse(readFileSync(scenarioFile, "utf8")) as Scenario[]) {
  await run(address, token, scenario);
}
await run("127.0.0.1:1", token, { name: "nobody answers", intent: "", tool: "tickets/read", arguments: "{}", sources: [] });
process.exit(0);
