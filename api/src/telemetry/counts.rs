//! What is counted as it happens, for /metrics: calls, and health checks.

use std::time::Duration;

use axum::http::Method;
use pgw_core::health::Health;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

type Labels<const N: usize> = [(&'static str, String); N];
type Durations = Family<Labels<2>, Histogram, fn() -> Histogram>;

/// Its clones count together.
#[derive(Debug, Clone)]
pub struct Counts {
    calls: Family<Labels<3>, Counter>,
    durations: Durations,
    checks: Family<Labels<1>, Counter>,
    latencies: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            durations: Family::new_with_constructor(|| {
                Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
            }),
            checks: Family::default(),
            latencies: Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0]),
        }
    }
}

impl Counts {
    /// `route` is the path as it is documented, with its parameters' names: never what somebody
    /// made up.
    pub fn call(&self, method: &Method, route: &str, status: u16, took: Duration) {
        let method = match *method {
            Method::GET | Method::HEAD | Method::POST | Method::PATCH | Method::PUT | Method::DELETE => {
                method.as_str()
            }
            // A caller can invent methods, as many as he likes.
            _ => "other",
        };
        let (method, route) = (("method", method.to_owned()), ("route", route.to_owned()));
        self.calls.get_or_create(&[method.clone(), route.clone(), ("status", status.to_string())]).inc();
        self.durations.get_or_create(&[method, route]).observe(took.as_secs_f64());
    }

    pub fn check(&self, health: &Health) {
        let answered = health.latency_ms.filter(|_latency| health.error.is_none());
        let result = if answered.is_some() { "answered" } else { "failed" };
        self.checks.get_or_create(&[("result", result.to_owned())]).inc();
        if let Some(latency_ms) = answered {
            self.latencies.observe(Duration::from_millis(latency_ms.into()).as_secs_f64());
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("pgw_http_requests", "Calls of the REST API", self.calls.clone());
        registry.register_with_unit(
            "pgw_http_request_duration",
            "From a call's head to its answer's",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register("pgw_health_checks", "Checks of upstreams", self.checks.clone());
        registry.register_with_unit(
            "pgw_health_check_latency",
            "Checks of upstreams that were answered",
            Unit::Seconds,
            self.latencies.clone(),
        );
    }
}
