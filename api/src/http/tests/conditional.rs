//! `ETag` and `If-Match`, for everything that has revisions.

use super::*;

impl Gateway {
    async fn call_if(
        &self,
        method: &Method,
        path: &str,
        if_match: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let path = if *method == Method::DELETE { path } else { path.split('?').next().unwrap() };
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::AUTHORIZATION, format!("Bearer {ADMIN}"));
        if let Some(tag) = if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.map(Value::to_string).unwrap_or_default())).unwrap()).await
    }

    /// One of each, and a change of it; each can be removed once those before it are.
    async fn one_of_each(&self) -> Vec<(String, Value)> {
        let (proxy, client) = (self.make_proxy("de1").await, self.make_client(3).await);
        let mapping = self.make_mapping(&client, &proxy).await;
        let user = self.make_user("alice", "viewer").await;
        vec![
            (format!("/v1/mappings/{mapping}"), json!({"priority": 7})),
            (format!("/v1/clients/{client}?cascade=true"), json!({"note": "a device"})),
            (format!("/v1/proxies/{proxy}?cascade=true"), json!({"note": "an upstream"})),
            (format!("/v1/users/{user}"), json!({"name": "alicia"})),
        ]
    }
}

#[tokio::test]
async fn whoever_has_seen_another_revision_changes_nothing_and_is_told_the_present_one() {
    let gateway = Gateway::new().await;
    for (path, change) in gateway.one_of_each().await {
        let seen = gateway.call_if(&Method::GET, &path, None, None).await;
        let first = seen.header("etag").to_owned();
        let changed = gateway.call_if(&Method::PATCH, &path, Some(&first), Some(&change)).await;
        assert_eq!(changed.status, 200, "{path}: {}", changed.text);
        let second = changed.header("etag").to_owned();
        assert_ne!(first, second, "{path}");
        for (method, body) in [(Method::PATCH, Some(&change)), (Method::DELETE, None)] {
            for tag in [first.as_str(), "\"99\"", "W/\"2\"", "\"nonsense\""] {
                let refused = gateway.call_if(&method, &path, Some(tag), body).await;
                refused.refused(412, "precondition_failed");
                assert_eq!(refused.header("etag"), second, "{method} {path}");
            }
            let two = gateway.call_if(&method, &path, Some("\"1\", \"2\""), body).await;
            two.invalid_at(&["/If-Match"]);
        }
        assert_eq!(gateway.call_if(&Method::GET, &path, None, None).await.header("etag"), second);
        let any = gateway.call_if(&Method::PATCH, &path, Some("*"), Some(&json!({}))).await;
        assert_eq!(any.status, 200, "{}", any.text);
        assert_eq!(any.header("etag"), second, "what changes nothing is no change");
        assert_eq!(gateway.call_if(&Method::DELETE, &path, Some(&second), None).await.status, 204);
        gateway.call_if(&Method::DELETE, &path, Some("*"), None).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn where_it_is_required_a_change_says_which_revision_it_means() {
    let gateway = Gateway::strict().await;
    for (path, change) in gateway.one_of_each().await {
        for (method, body) in [(Method::PATCH, Some(&change)), (Method::DELETE, None)] {
            gateway.call_if(&method, &path, None, body).await.refused(428, "precondition_required");
        }
        let tag = gateway.call_if(&Method::GET, &path, None, None).await.header("etag").to_owned();
        assert_eq!(gateway.call_if(&Method::PATCH, &path, Some(&tag), Some(&change)).await.status, 200);
        assert_eq!(gateway.call_if(&Method::DELETE, &path, Some("*"), None).await.status, 204);
    }
}

#[tokio::test]
async fn of_two_who_have_seen_the_same_one_changes_it() {
    let gateway = Gateway::new().await;
    for (path, change) in gateway.one_of_each().await {
        let tag = gateway.call_if(&Method::GET, &path, None, None).await.header("etag").to_owned();
        let all = (0..8).map(|_| gateway.call_if(&Method::PATCH, &path, Some(&tag), Some(&change)));
        let answers = futures_util::future::join_all(all).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{path}");
        assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 7, "{path}");
    }
}
