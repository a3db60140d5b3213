// The calls of a control plane that the plugin needs, as JSON over HTTP. Whatever goes wrong is an error, never an answer.

import { readFileSync } from "node:fs";

export interface Grant {
  grantId: string;
  tool: string;
  argumentsSha256: string;
  redeemed?: boolean;
  obligations?: { kind: string }[];
}

export interface Decided {
  decision: { outcome: string; explanation?: string; findings?: { rule: string; message: string; remedy?: string }[] };
  grants?: Grant[];
  approvalId?: string;
}

/** No answer came that can be relied on; `code` is that of the API where it gave one. */
export class NoDecisionError extends Error {
  readonly code: string;
  readonly mayRetry: boolean;

  constructor(code: string, message: string, mayRetry = false) {
    super(message);
    this.code = code;
    this.mayRetry = mayRetry;
  }
}

export class ControlPlane {
  readonly #address: URL;
  readonly #tokenFile: string;
  readonly #deadlineSeconds: number;

  /** Throws a TypeError where a token would go over a network in the clear. */
  constructor(address: string, tokenFile: string, deadlineSeconds: number) {
    this.#address = new URL(address);
    this.#tokenFile = tokenFile;
    this.#deadlineSeconds = deadlineSeconds;
    const isHere = ["127.0.0.1", "[::1]", "localhost"].includes(this.#address.hostname);
    if (this.#address.protocol !== "https:" && !(this.#address.protocol === "http:" && isHere)) {
      throw new TypeError(`aisecops: ${address} is neither https nor on this machine`);
    }
  }

  /** Asks one call. */
  async ask(method: string, request: unknown): Promise<any> {
    const response = await this.#send(method, request, AbortSignal.timeout(this.#deadlineSeconds * 1000));
    const told = await response.json().catch(() => undefined);
    if (!response.ok) throw refusal(response.status, told);
    if (typeof told !== "object" || told === null) throw new NoDecisionError("UNKNOWN", "the answer is no JSON");
    return told;
  }

  /** Waits until people have answered a request, or for `seconds`; returns its state. */
  async stateOf(approvalId: string, seconds: number): Promise<string> {
    const shown = await this.ask("ApprovalService/GetApproval", { approvalId });
    let state = String(shown.approval?.state ?? "");
    if (state !== REQUESTED || seconds <= 0) return state;
    try {
      const response = await this.#send("ApprovalService/Wait", { approvalId }, AbortSignal.timeout(seconds * 1000));
      if (!response.ok) throw refusal(response.status, await response.json().catch(() => undefined));
      for await (const told of events(response)) state = String(told.approval?.state ?? state);
    } catch (error) {
      if (!(error instanceof DOMException) && (error as Error)?.name !== "TimeoutError") throw error;
    }
    return state;
  }

  async #send(method: string, request: unknown, signal: AbortSignal): Promise<Response> {
    try {
      return await fetch(new URL(`/api/v1/${method}`, this.#address), {
        method: "POST",
        // A redirection would take the token elsewhere.
        redirect: "error",
        signal,
        headers: {
          authorization: `Bearer ${readFileSync(this.#tokenFile, "utf8").trim()}`,
          "content-type": "application/json",
        },
        body: JSON.stringify(request),
      });
    } catch (error) {
      const timedOut = (error as Error)?.name === "TimeoutError";
      throw new NoDecisionError(timedOut ? "DEADLINE_EXCEEDED" : "UNAVAILABLE", "the control plane does not answer", true);
    }
  }
}

export const REQUESTED = "APPROVAL_STATE_REQUESTED";

function refusal(status: number, told: any): NoDecisionError {
  const message = typeof told?.message === "string" ? told.message : `HTTP ${status}`;
  return new NoDecisionError(String(told?.details?.[0]?.reason ?? `HTTP_${status}`), message, status === 429 || status >= 500);
}

async function* events(response: Response): AsyncGenerator<any> {
  let held = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    held += decoder.decode(chunk as Uint8Array, { stream: true });
    for (let end = held.indexOf("\n\n"); end >= 0; end = held.indexOf("\n\n")) {
      const lines = held.slice(0, end).split("\n");
      held = held.slice(end + 2);
      const kind = lines.find((line) => line.startsWith("event:"))?.slice(6).trim();
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (kind === "error") throw new NoDecisionError("UNAVAILABLE", data.trim());
      if (data) yield JSON.parse(data);
    }
  }
}
