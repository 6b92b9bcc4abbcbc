//! Who is meant, and what is refused; the explanation itself is core's.

use super::*;

#[tokio::test]
async fn a_device_is_known_by_its_id_its_address_or_its_name() {
    let gateway = Gateway::new().await;
    let id = gateway.make_client(3).await;
    for word in [id.as_str(), "192.168.2.3", "192.168.2.3/32", "phone%203"] {
        let told = gateway.get(&format!("/v1/explain?client={word}&host=shop.example&port=80")).await;
        assert_eq!(told.status, 200, "{}", told.text);
        let told = told.json();
        assert_eq!((&told["client"]["id"], &told["verdict"]), (&json!(id), &json!("closed")), "{told}");
        assert_eq!(told["destination"], json!({"host": "shop.example", "port": 80, "at_gateway": false}));
    }
}

#[tokio::test]
async fn an_address_that_nobody_registered_is_a_strangers_and_another_unknown_word_is_nobodys() {
    let gateway = Gateway::new().await;
    let told = gateway.get("/v1/explain?client=192.168.2.9").await.json();
    assert_eq!((&told["verdict"], &told["client"]["id"]), (&json!("not_registered"), &json!(null)));
    assert_eq!(told["destination"], json!({"host": null, "port": 443, "at_gateway": false}));
    for word in ["nobody", "00000000-0000-0000-0000-000000000000"] {
        gateway.get(&format!("/v1/explain?client={word}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_name_that_several_have_is_told_back_and_so_is_what_cannot_be_read() {
    let gateway = Gateway::new().await;
    for last in [3, 4] {
        let twin = json!({"name": "twin", "ip_cidr": format!("192.168.2.{last}")});
        gateway.make("/v1/clients", twin).await;
    }
    for (query, pointers) in [
        ("client=twin", &["/client"][..]),
        ("", &["/client"]),
        ("client=&port=0", &["/client", "/port"]),
        ("client=x&port=65536&host=a%20b", &["/host", "/port"]),
        ("client=x&port=http&who=me", &["/port", "/who"]),
    ] {
        gateway.get(&format!("/v1/explain?{query}")).await.invalid_at(pointers);
    }
}

#[tokio::test]
async fn the_gateways_own_addresses_are_no_devices_and_are_reached_by_no_upstream() {
    let gateway = Gateway::new().await;
    gateway.make_client(3).await;
    let told = gateway.get("/v1/explain?client=10.88.0.1").await.json();
    assert!(told["summary"].as_str().unwrap().contains("the gateway itself"), "{told}");
    let told = gateway.get("/v1/explain?client=192.168.2.3&host=10.88.0.1").await.json();
    assert_eq!([&told["verdict"], &told["destination"]["at_gateway"]], [&json!("at_gateway"), &json!(true)]);
    let told = gateway.get("/v1/explain?client=192.168.2.3&host=10.88.0.2").await.json();
    assert_eq!([&told["verdict"], &told["destination"]["at_gateway"]], [&json!("closed"), &json!(false)]);
}
