//! People who log in, on the way that their browsers take: through pgw-ui to both services (G12).

use anyhow::{Context as _, Result, ensure};
use pgw_lab::gateway::{self, Program};
use pgw_lab::{Lab, rest};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

crate::tests![an_operator_logs_in_through_the_ui_and_reaches_both_services_by_its_role,];

const PASSWORD: &str = "a dozen letters or more";

struct Browser {
    client: Client,
    cookie: String,
    origin: &'static str,
}

impl Browser {
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Response> {
        let mut request = self.client.request(method, format!("{}{path}", rest::UI));
        request = request.header("cookie", &self.cookie).header("origin", self.origin);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request.send().await?)
    }

    async fn status(&self, method: Method, path: &str, body: Option<Value>) -> Result<u16> {
        Ok(self.send(method, path, body).await?.status().as_u16())
    }
}

async fn an_operator_logs_in_through_the_ui_and_reaches_both_services_by_its_role(lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let olga = json!({ "name": "olga", "role": "operator", "password": PASSWORD });
    ready.rest.post("/v1/users", olga).await?;

    let client = Client::builder().no_proxy().build()?;
    let mut browser = Browser { client, cookie: String::new(), origin: rest::UI };
    let login = json!({ "name": "olga", "password": PASSWORD });
    let answer = browser.send(Method::POST, "/api/v1/login", Some(login)).await?;
    ensure!(answer.status() == 200, "{answer:?}");
    let set = answer.headers().get("set-cookie").context("no cookie is set")?.to_str()?;
    ensure!(set.contains("HttpOnly; SameSite=Strict") && !set.contains("Secure"), "{set}");
    browser.cookie = set.split(';').next().unwrap_or_default().to_owned();

    let tv = || Some(json!({ "name": "tv", "ip_cidr": "192.168.2.77" }));
    for (method, path, body, want) in [
        (Method::GET, "/api/v1/me", None, 200),
        (Method::POST, "/api/v1/clients", tv(), 201),
        (Method::GET, "/api/v1/tokens", None, 403),
        (Method::GET, "/agent/status", None, 200),
        (Method::POST, "/agent/drill", None, 200),
        (Method::POST, "/agent/reconcile", None, 403),
    ] {
        let got = browser.status(method.clone(), path, body).await?;
        ensure!(got == want, "{method} {path}: {got}");
    }
    // The same browser, on a page of another service of this very machine.
    browser.origin = "http://127.0.0.1:3000";
    for path in ["/api/v1/clients", "/agent/drill"] {
        let answer = browser.send(Method::POST, path, tv()).await?;
        let problem: Value = answer.json().await?;
        ensure!(rest::text(&problem, "code") == "foreign_origin", "{path}: {problem}");
    }
    browser.origin = rest::UI;
    ensure!(browser.status(Method::POST, "/api/v1/logout", None).await? == 204);
    ensure!(browser.status(Method::GET, "/api/v1/me", None).await? == 401);

    let session = browser.cookie.trim_start_matches("pgw_session=");
    for program in Program::ALL {
        let log = std::fs::read_to_string(gateway::log_path(program.name()))?;
        ensure!(!log.contains(PASSWORD) && !log.contains(session), "{} tells a secret", program.name());
    }
    Ok(())
}
