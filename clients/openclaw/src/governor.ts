// One tool call: decided and its grant used up before it is made, told of when it was. Without a decision it is not made.

import { randomBytes } from "node:crypto";

import { base64, canonical, sha256 } from "./canonical.ts";
import { ControlPlane, NoDecisionError, REQUESTED, type Decided, type Grant } from "./control-plane.ts";
import { Conversation, textOf } from "./heard.ts";

export interface Call {
  session: string;
  toolName: string;
  params: Record<string, unknown>;
}

export interface Settings {
  environment: string;
  server: string;
  tools: Record<string, string>;
  approvalSeconds: number;
}

interface Permit {
  grant: Grant;
  tool: string;
}

interface Report {
  grantId: string;
  report: Record<string, unknown>;
}

const KEPT = 1024;
const NOT_RUN = "Not run";

/** Governs the tools of the agents of one gateway, which ask with one token. */
export class Governor {
  readonly #conversations = new Map<string, Conversation>();
  readonly #traces = new Map<string, string>();
  readonly #requests = new Map<string, string>();
  readonly #permits = new Map<string, Permit>();
  readonly #untold: Report[] = [];
  #telling: Promise<void> = Promise.resolve();

  readonly plane: ControlPlane;
  readonly settings: Settings;
  readonly warn: (message: string) => void;

  constructor(plane: ControlPlane, settings: Settings, warn: (message: string) => void) {
    this.plane = plane;
    this.settings = settings;
    this.warn = warn;
  }

  /** Returns policy's name of a tool, for messages about it only: two tools could have the same. */
  readonly named = (name: string): string =>
    Object.hasOwn(this.settings.tools, name)
      ? this.settings.tools[name]!
      : `${this.settings.server}/${name.replace(/[^A-Za-z0-9_.:-]/g, "_").slice(0, 64)}`;

  /** Hears what a run begins with. */
  begin(session: string, messages: readonly unknown[], prompt: string, isOwner: boolean): void {
    this.#conversation(session).begin(messages, prompt, isOwner, this.named);
  }

  /** Returns why a call may not be made, or nothing when it is to be made now, with exactly these arguments. */
  async before(call: Call, callId: string): Promise<string | undefined> {
    try {
      await this.#tellAll();
      keep(this.#permits, this.#key(call, callId), await this.#permit(call));
      return undefined;
    } catch (error) {
      return `${NOT_RUN}: ${why(error)}`;
    }
  }

  /** Tells what came of a call that was made. */
  async after(call: Call, callId: string, result: unknown, error: string | undefined): Promise<void> {
    const key = this.#key(call, callId);
    const permit = this.#permits.get(key);
    this.#permits.delete(key);
    const tool = permit?.tool ?? this.named(call.toolName);
    const text = textOf((result as any)?.content ?? result ?? error);
    this.#conversation(call.session).add({ kind: "SOURCE_KIND_TOOL_RESULT", tool, text });
    if (permit === undefined) return;
    this.#untold.push({
      grantId: permit.grant.grantId,
      report: {
        outcome: error === undefined ? "EXECUTION_OUTCOME_EXECUTED" : "EXECUTION_OUTCOME_FAILED",
        tool,
        // Of what was sent, not of what was granted: where they differ it is an incident.
        argumentsSha256: digestOf(call.params),
        ...(error === undefined ? { resultSha256: sha256(text.toWellFormed()) } : { failure: error.toWellFormed().slice(0, 512) }),
      },
    });
    await this.#tellAll().catch((problem) => this.warn(`aisecops: not told yet of ${tool}: ${why(problem)}`));
  }

  async #permit(call: Call): Promise<Permit> {
    const tool = this.named(call.toolName);
    if (!Object.hasOwn(this.settings.tools, call.toolName) && tool !== `${this.settings.server}/${call.toolName}`) {
      throw new RefusedError("the tool has a name that policy cannot name.");
    }
    const json = canonical(call.params);
    const known = `${call.session}\n${tool}\n${json}`;
    let approvalId = await this.#approved(known);
    let answer = await this.#decide(call, tool, json, approvalId);
    if (answer.decision.outcome === "OUTCOME_REQUIRE_APPROVAL" && answer.approvalId) {
      keep(this.#requests, known, answer.approvalId);
      // It may have been approved before this process knew of it, and is waited for where the settings say so.
      approvalId = await this.#approved(known);
      answer = await this.#decide(call, tool, json, approvalId);
    }
    if (answer.decision.outcome !== "OUTCOME_ALLOW") throw new DeniedError(answer);
    this.#requests.delete(known);
    return { grant: usable(answer.grants, tool, sha256(json)), tool };
  }

  /** Returns the approval of a call that people were asked about; empty where they were not, or it is over. */
  async #approved(known: string): Promise<string> {
    const approvalId = this.#requests.get(known);
    if (approvalId === undefined) return "";
    const state = await this.plane.stateOf(approvalId, this.settings.approvalSeconds);
    if (state === "APPROVAL_STATE_GRANTED") return approvalId;
    if (state === REQUESTED) throw new WaitingError(approvalId);
    this.#requests.delete(known);
    if (state === "APPROVAL_STATE_REJECTED" || state === "APPROVAL_STATE_WITHDRAWN") {
      throw new RefusedError(`people said no to this call (request ${approvalId}).`);
    }
    return "";
  }

  async #decide(call: Call, tool: string, json: string, approvalId: string): Promise<Decided> {
    const conversation = this.#conversation(call.session);
    const answer = await this.plane.ask("DecisionService/Decide", {
      plan: {
        traceId: this.#trace(call.session),
        sessionId: identifier(call.session),
        intent: conversation.intent(),
        environment: this.settings.environment,
        // The same call again is the same step, so an approval of it is found.
        steps: [{ stepId: `call-${sha256(`${tool}\n${json}`).slice(0, 24)}`, tool, argumentsJson: base64(json) }],
        sources: conversation.sources(),
      },
      idempotencyKey: fresh(),
      redemptionKey: fresh(),
      ...(approvalId ? { approvalId } : {}),
    });
    if (typeof answer.decision?.outcome !== "string") throw new NoDecisionError("UNKNOWN", "the answer is no decision");
    return answer;
  }

  /** Tells in order what is not told yet; what cannot be told keeps its place, and what can never be is let go. */
  #tellAll(): Promise<void> {
    const telling = this.#telling.catch(() => undefined).then(async () => {
      for (let next = this.#untold[0]; next !== undefined; next = this.#untold[0]) {
        try {
          const told = await this.plane.ask("ExecutionService/Complete", next);
          for (const incident of told.incidents ?? []) this.warn(`aisecops: the call by ${next.grantId} is an incident: ${incident}`);
        } catch (error) {
          if (!(error instanceof NoDecisionError) || error.mayRetry) throw error;
          this.warn(`aisecops: what came of ${next.grantId} was not taken: ${error.message}`);
        }
        this.#untold.shift();
      }
    });
    this.#telling = telling;
    return telling;
  }

  #conversation(session: string): Conversation {
    return keep(this.#conversations, session, this.#conversations.get(session) ?? new Conversation());
  }

  #trace(session: string): string {
    return keep(this.#traces, session, this.#traces.get(session) ?? randomBytes(16).toString("hex"));
  }

  #key(call: Call, callId: string): string {
    return `${call.session}\n${callId || `${call.toolName}\n${digestOf(call.params)}`}`;
  }
}

class DeniedError extends Error {
  constructor(answer: Decided) {
    const [finding] = answer.decision.findings ?? [];
    const told = finding ? `${finding.message} (${finding.rule})` : (answer.decision.explanation ?? "policy does not allow it.");
    super(finding?.remedy ? `${told}\nWhat would be acceptable: ${finding.remedy}` : told);
  }
}

class RefusedError extends Error {}

class WaitingError extends Error {
  constructor(approvalId: string) {
    super(`people have to approve this call first (request ${approvalId}). Make exactly the same call again when they have.`);
  }
}

/** Returns the one grant of a call, used up with its decision and without duties that nobody here could keep. */
function usable(grants: Grant[] | undefined, tool: string, digest: string): Grant {
  const [grant, ...more] = grants ?? [];
  if (grant === undefined || more.length > 0) throw new NoDecisionError("NO_GRANT", "the decision gives no grant");
  const [obligation] = grant.obligations ?? [];
  if (obligation) throw new RefusedError(`its result would have to be changed (${obligation.kind}), which cannot be done here.`);
  if (!grant.redeemed || grant.tool !== tool || grant.argumentsSha256 !== digest) {
    throw new NoDecisionError("OTHER_GRANT", "the grant is of another call");
  }
  return grant;
}

function why(error: unknown): string {
  if (error instanceof DeniedError || error instanceof RefusedError || error instanceof WaitingError) return error.message;
  if (error instanceof NoDecisionError) {
    return error.mayRetry
      ? `there is no decision, and without one nothing is allowed (${error.code}). It can be tried again later.`
      : `the call cannot be judged (${error.code}): ${error.message}`;
  }
  if (error instanceof TypeError) return "the call cannot be judged: its arguments have no exact form as JSON";
  return `there is no decision (${(error as Error)?.name ?? "unknown"}), and without one nothing is allowed`;
}

function digestOf(params: unknown): string {
  try {
    return sha256(canonical(params));
  } catch {
    return sha256("");
  }
}

function identifier(text: string): string {
  return /^[A-Za-z0-9_.:-]{1,64}$/.test(text) ? text : `x-${sha256(text.toWellFormed()).slice(0, 24)}`;
}

function fresh(): string {
  return randomBytes(16).toString("hex");
}

function keep<T>(kept: Map<string, T>, key: string, value: T): T {
  kept.delete(key);
  kept.set(key, value);
  for (const oldest of kept.keys()) {
    if (kept.size <= KEPT) break;
    kept.delete(oldest);
  }
  return value;
}
