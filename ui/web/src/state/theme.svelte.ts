// Light, dark, or as the machine has it.

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEPT_AS = "pgw-theme";

class Look {
  theme = $state<Theme>("system");

  begin(): void {
    const kept = localStorage.getItem(KEPT_AS);
    this.use(THEMES.find((theme) => theme === kept) ?? "system");
  }

  use(theme: Theme): void {
    this.theme = theme;
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(KEPT_AS, theme);
  }
}

export const look = new Look();
