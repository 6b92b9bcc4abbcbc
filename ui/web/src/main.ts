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

// Whoever is known needs it next.
void placeOf(location.pathname)?.load();
look.begin();
route.begin();
await words.begin();
const target = document.getElementById("app");
if (target) mount(App, { target });
void session.begin();
