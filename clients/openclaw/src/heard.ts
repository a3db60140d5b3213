// What the model of a session read, as the sources of a plan: the words of whoever may command, and of everybody else.

import { base64, sha256 } from "./canonical.ts";

const MOST = 200;
const MOST_CHARACTERS = 200_000;

export interface Source {
  sourceId: string;
  kind: string;
  name?: string;
  content?: string;
  digest?: string;
  declaredTrust?: string;
  tool?: string;
}

type Heard = Omit<Source, "sourceId" | "content" | "digest"> & { text: string };

export class Conversation {
  #heard: Heard[] = [];

  /** Begins a run: what was said before it, and the message that it answers. */
  begin(messages: readonly unknown[], prompt: string, isOwner: boolean, named: (tool: string) => string): void {
    this.#heard = messages.flatMap((message) => read(message, named));
    this.add(isOwner ? { kind: "SOURCE_KIND_USER_PROMPT", text: prompt } : stranger(prompt));
  }

  add(heard: Heard): void {
    this.#heard.push(heard);
  }

  /** Returns the sources of the next plan; of more than a plan can carry, digests and the latest. */
  sources(): Source[] {
    let left = MOST_CHARACTERS * 4;
    const kept = this.#heard.slice(-MOST).reverse().map(({ text, ...about }, at): Source => {
      const sourceId = `s${Math.min(this.#heard.length, MOST) - 1 - at}`;
      if (text.length > MOST_CHARACTERS || text.length > left || !text.isWellFormed()) {
        return { sourceId, ...about, digest: sha256(text) };
      }
      left -= text.length;
      return { sourceId, ...about, content: base64(text) };
    });
    return kept.reverse();
  }

  /** Returns the beginning of what was asked last. */
  intent(): string {
    return (this.#heard.findLast((heard) => heard.kind === "SOURCE_KIND_USER_PROMPT")?.text ?? "").toWellFormed().slice(0, 500);
  }
}

/** Returns the text of content as OpenClaw has it; what is no text has none. */
export function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (Array.isArray(content)) return content.map((part) => textOf((part as any)?.text ?? "")).filter(Boolean).join("\n");
  return content === undefined || content === null ? "" : JSON.stringify(content);
}

// Somebody whom the host does not prove to be the owner may be anybody; and so may earlier words of a session.
function stranger(text: string): Heard {
  return { kind: "SOURCE_KIND_AGENT_MESSAGE", name: "message of somebody unproven", text, declaredTrust: "TRUST_LEVEL_UNVERIFIED" };
}

function read(message: any, named: (tool: string) => string): Heard[] {
  const text = textOf(message?.content);
  switch (message?.role) {
    case "toolResult":
      return [{ kind: "SOURCE_KIND_TOOL_RESULT", tool: named(String(message.toolName ?? "unknown")), text }];
    case "assistant":
      return [];
    default:
      return text ? [{ kind: "SOURCE_KIND_MEMORY", name: "earlier in the session", text }] : [];
  }
}
