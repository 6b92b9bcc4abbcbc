import { mount } from "svelte";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/controls.css";
import App from "./App.svelte";
import { placeOf } from "./logic/places";
import { words } from "./state/language.svelte";
import { route } from "./state/route.svelte";
import { session } from "./state/session.svelte";
import { look } from "./state/theme.svelte";

const AGAIN = "pgw-again";

// Whoever is known needs it next.
void placeOf(location.pathname)?.load();
look.begin();
route.begin();
try {
  await words.begin();
  sessionStorage.removeItem(AGAIN);
} catch (error) {
  // Without words there is no page; a browser keeps what it failed to load, unless it begins anew.
  if (sessionStorage.getItem(AGAIN)) throw error;
  sessionStorage.setItem(AGAIN, "yes");
  setTimeout(() => location.reload(), 1000);
}
const target = document.getElementById("app");
if (target) mount(App, { target });
void session.begin();
