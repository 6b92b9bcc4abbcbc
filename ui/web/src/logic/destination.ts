// Where a device wants to go, as people have it at hand: a name, an address, or what stands in a browser.

export interface Wanted {
  host: string;
  port?: number;
}

export function wantedOf(text: string): Wanted | null {
  const [, scheme, host = "", port] = /^(?:(https?):\/\/)?([^\s:/?#]+)(?::(\d{1,5}))?(?:[/?#]\S*)?$/i.exec(text.trim()) ?? [];
  if (host === "") return null;
  if (port !== undefined) return { host, port: Number(port) };
  return scheme?.toLowerCase() === "http" ? { host, port: 80 } : { host };
}
