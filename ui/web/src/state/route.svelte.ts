// Where the reader is: the address, taken apart. What can be linked to stands in it.

class Route {
  path = $state(location.pathname);
  search = $state(location.search);

  parts = $derived(this.path.split("/").filter((part) => part !== ""));
  query = $derived(new URLSearchParams(this.search));

  begin(): void {
    addEventListener("popstate", () => this.#read());
    document.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
      const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
      if (!(link instanceof HTMLAnchorElement) || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
      if (link.origin !== location.origin || link.pathname.startsWith("/api/") || link.getAttribute("href")?.startsWith("#")) return;
      event.preventDefault();
      this.go(link.pathname + link.search);
    });
  }

  go(to: string): void {
    if (to === this.path + this.search) return;
    const elsewhere = to.split("?")[0] !== this.path;
    history.pushState(null, "", to);
    this.#read();
    if (elsewhere) scrollTo(0, 0);
  }

  /** A filter that is being typed is no step to go back to. */
  ask(name: string, value: string | null): void {
    const query = new URLSearchParams(location.search);
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
    const search = query.size > 0 ? `?${query}` : "";
    history.replaceState(null, "", location.pathname + search);
    this.search = search;
  }

  #read(): void {
    this.path = location.pathname;
    this.search = location.search;
  }
}

export const route = new Route();
