// Every page there is, and what opens on it.

export const PAGES = [
  { name: "overview", path: "/", en: "Overview", vi: "Tổng quan" },
  { name: "devices", path: "/devices", en: "Devices", vi: "Thiết bị" },
  { name: "proxies", path: "/proxies", en: "Proxies", vi: "Proxy" },
  { name: "map", path: "/map", en: "Map", vi: "Gán proxy" },
  { name: "tunnels", path: "/tunnels", en: "Tunnels", vi: "Đường hầm" },
  { name: "tunnel-clients", path: "/tunnels/clients", en: "Tunnels", vi: "Đường hầm" },
  { name: "connections", path: "/connections", en: "Connections", vi: "Kết nối" },
  { name: "firewall", path: "/firewall", en: "Firewall", vi: "Tường lửa" },
  { name: "journal", path: "/journal", en: "Journal", vi: "Nhật ký" },
  { name: "settings", path: "/settings/about", en: "Settings", vi: "Cài đặt" },
  { name: "config", path: "/settings/config", en: "Settings", vi: "Cài đặt" },
  { name: "users", path: "/settings/users", en: "Settings", vi: "Cài đặt" },
  { name: "tokens", path: "/settings/tokens", en: "Settings", vi: "Cài đặt" },
  { name: "webhooks", path: "/settings/webhooks", en: "Settings", vi: "Cài đặt" },
  { name: "password", path: "/settings/password", en: "Settings", vi: "Cài đặt" },
];

/** Beside or above a page: what is opened there by a button of that name. */
export const OPENED = [
  { name: "device", path: (ids) => `/devices/${ids.device}`, parts: ["Way out", "Traffic", "Connections", "History", "Edit"] },
  { name: "proxy", path: (ids) => `/proxies/${ids.proxy}`, parts: ["Health", /^Used by/, "Traffic", "History", "Edit"] },
  { name: "tunnel", path: (ids) => `/tunnels/${ids.tunnel}`, parts: ["Connected", "Sessions", "Client file", "Edit"] },
  { name: "tunnel-client", path: (ids) => `/tunnels/clients/${ids.office}`, parts: ["Connect it", "Sessions", "Edit"] },
  { name: "import", path: () => "/proxies?import", parts: [] },
];
