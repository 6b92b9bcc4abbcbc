// Which language, and its words. A language is one file of `text/`; only the chosen one is loaded.

import { fill } from "../logic/fill";
import type en from "../text/en.json";

export type Key = keyof typeof en;
export const LANGUAGES = { en: "English", vi: "Tiếng Việt" } as const;
export type Language = keyof typeof LANGUAGES;

const KEPT_AS = "pgw-language";
const load: Record<Language, () => Promise<{ default: Record<Key, string> }>> = {
  en: () => import("../text/en.json"),
  vi: () => import("../text/vi.json"),
};

const isLanguage = (word: string | null): word is Language => word !== null && word in LANGUAGES;

class Words {
  language = $state<Language>("en");
  /** For numbers and times: of the reader's own kind of the language. */
  locale = $derived(navigator.languages.find((one) => one.startsWith(this.language)) ?? this.language);
  #text = $state.raw<Partial<Record<Key, string>>>({});

  async begin(): Promise<void> {
    const kept = localStorage.getItem(KEPT_AS);
    const wanted = navigator.languages.map((language) => language.slice(0, 2)).find(isLanguage);
    await this.use(isLanguage(kept) ? kept : (wanted ?? "en"), false);
  }

  async use(language: Language, keep = true): Promise<void> {
    this.#text = (await load[language]()).default;
    this.language = language;
    document.documentElement.lang = language;
    if (keep) localStorage.setItem(KEPT_AS, language);
  }

  say(key: Key, values: Record<string, string | number> = {}): string {
    return fill(this.#text[key] ?? key, values, this.locale);
  }
}

export const words = new Words();
export const t = (key: Key, values?: Record<string, string | number>): string => words.say(key, values);
