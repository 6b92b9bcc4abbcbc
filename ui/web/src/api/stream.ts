// Server-sent events, read from a fetch: it can carry a token, and it says why it was refused.

export interface Message {
  event: string;
  id: string;
  data: string;
}

/** Cuts what arrives into messages; a piece may end anywhere. */
export class Cutter {
  #rest = "";
  #event = "";
  #id = "";
  #data: string[] = [];

  push(piece: string): Message[] {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  #line(line: string): Message[] {
    if (line === "") {
      const message = { event: this.#event || "message", id: this.#id, data: this.#data.join("\n") };
      const whole = this.#data.length > 0;
      this.#event = "";
      this.#data = [];
      return whole ? [message] : [];
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "data") this.#data.push(value);
    return [];
  }
}

/** Hands on every message until the stream ends; `alive` is called with every sign of life. */
export async function read(body: ReadableStream<Uint8Array>, alive: () => void, take: (message: Message) => void): Promise<void> {
  const cutter = new Cutter();
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    for (const message of cutter.push(value)) take(message);
  }
}
