// Who is asking. A browser that has logged in has a cookie that no script can read; a token, which
// is for those who have no user yet, stays in this tab.

const KEPT_AS = "pgw-token";

class Access {
  /** Grows with each signing in; a call that was refused waits for the next one. */
  number = $state(0);
  /** Somebody was signed in, and is no longer. */
  expired = $state(false);
  #token: string | null = sessionStorage.getItem(KEPT_AS);
  #waiting: (() => void)[] = [];

  headers(): Record<string, string> {
    return this.#token ? { authorization: `Bearer ${this.#token}` } : {};
  }

  get byToken(): boolean {
    return this.#token !== null;
  }

  useToken(token: string | null): void {
    this.#token = token;
    if (token) sessionStorage.setItem(KEPT_AS, token);
    else sessionStorage.removeItem(KEPT_AS);
  }

  signedIn(): void {
    this.number += 1;
    this.expired = false;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Resolves with the first signing in after that number. */
  renewed(number: number): Promise<void> {
    if (this.number > number) return Promise.resolve();
    this.expired = true;
    return new Promise((done) => this.#waiting.push(done));
  }
}

export const access = new Access();
