// Puts a text where the reader can paste it.

/** False where the browser lets nobody. `beside` is where a field may stand for a moment. */
export async function toClipboard(text: string, beside: HTMLElement): Promise<boolean> {
  // Only a browser that came by https or from this machine has this one; gateways are mostly opened by http.
  if (isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused by the reader or his browser; the older way may be allowed.
    }
  }
  return byMarking(text, beside);
}

/** Within the dialog that is open: it takes the focus back from whatever is outside. */
function byMarking(text: string, beside: HTMLElement): boolean {
  const field = document.createElement("textarea");
  const had = document.activeElement;
  field.value = text;
  field.readOnly = true;
  field.className = "unseen";
  beside.after(field);
  field.focus({ preventScroll: true });
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (had instanceof HTMLElement) had.focus({ preventScroll: true });
  return done;
}
