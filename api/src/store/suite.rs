//! What every database behind `Store` must do; each runs all of it on a fresh one.

pub(super) mod applies;
pub(super) mod concurrency;
pub(super) mod events;
pub(super) mod exits;
pub(super) mod gateways;
pub(super) mod lists;
pub(super) mod people;
pub(super) mod removal;
pub(super) mod revisions;
pub(super) mod states;
pub(super) mod traffic;
pub(super) mod tunnels;
pub(super) mod webhooks;
pub(super) mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use pgw_core::client::Client;
use pgw_core::exit::Expect;
use pgw_core::mapping::{Mapping, Target};
use pgw_core::ports::PortRange;
use pgw_core::proxy::{Proxy, Scheme};
use pgw_core::redact::Secret;

use super::*;

/// A fresh database; what it lies in goes when it is dropped.
pub(super) struct Fresh {
    pub(super) store: Arc<dyn Store>,
    pub(super) _place: Box<dyn std::any::Any>,
}

/// Runs every test of the suite against the stores that `$fresh` makes.
macro_rules! store_suite {
    ($fresh:path => $($module:ident { $($test:ident),+ $(,)? })+) => {$(
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let fresh = $fresh().await;
                    $crate::store::suite::$module::$test(fresh.store.clone()).await;
                }
            )+
        }
    )+};
}

macro_rules! every_store_test {
    ($fresh:path) => {
        store_suite! { $fresh =>
            writes {
                what_is_written_is_read_back,
                names_addresses_and_pairs_are_unique_among_what_is_there,
                a_password_is_kept_for_dialling_and_never_without_a_user_name,
                health_is_forgotten_when_a_proxy_is_dialled_in_another_way_only,
                a_mapping_needs_a_client_and_a_proxy_that_are_there,
                tokens_are_found_by_hash_until_they_are_revoked,
                a_port_outside_of_a_changed_range_is_given_up_for_one_inside,
            }
            lists {
                pages_hold_everything_once_in_order,
                a_list_is_sorted_by_what_is_asked_for_and_of_equals_by_age,
                a_page_goes_on_where_the_last_ended_whatever_came_or_went,
                a_search_finds_part_of_a_text_literally,
                a_client_is_known_as_its_whole_name_or_its_address,
                mappings_are_filtered_by_state_client_and_proxy,
            }
            states {
                applied_at_is_there_exactly_while_a_mapping_is_applied,
                a_new_way_out_is_pending_again_and_one_switched_off_is_not_called_closed_before_it_is,
                health_is_remembered,
                what_was_found_of_a_former_way_of_dialling_is_not_written_down,
            }
            exits {
                an_address_that_is_not_to_be_shared_has_one_holder,
                of_many_who_want_an_address_for_themselves_one_gets_it,
                what_is_expected_is_kept_and_the_address_with_which_it_opened_until_it_is_accepted,
                an_exit_is_told_with_its_country_and_with_whose_it_is,
            }
            gateways {
                a_gateway_shows_itself_with_what_it_has,
                a_client_cannot_be_given_to_a_gateway_that_is_not_there,
            }
            revisions {
                each_change_by_an_operator_is_another_revision_and_nothing_else_is,
                a_change_that_was_meant_for_another_revision_is_refused_and_changes_nothing,
                a_change_that_changes_nothing_is_no_revision_and_no_event,
            }
            removal {
                a_thing_in_use_is_removed_only_with_cascade,
                a_going_mapping_keeps_its_port_until_its_removal_is_finished,
                a_name_and_an_address_can_be_used_again_at_once,
                a_removal_that_is_finished_twice_or_for_others_touches_nothing_else,
                a_proxy_goes_when_its_last_client_is_done,
                plans_are_in_failover_order_and_hold_what_is_going,
            }
            traffic {
                traffic_of_one_step_is_added_up_and_told_of_a_client_a_proxy_or_all,
                a_busy_minute_of_a_thousand_clients_is_written_and_no_number_is_too_large,
                health_over_time_is_the_worst_of_each_step,
                how_far_was_counted_is_read_back_until_the_forwarder_is_gone,
                names_are_replaced_and_those_of_removed_clients_are_forgotten,
                what_is_too_old_is_forgotten_step_by_step,
                the_census_counts_what_is_there_and_owners_are_known_until_all_is_done,
            }
            applies {
                what_a_document_says_is_what_is_exported_then,
                rows_that_a_document_does_not_change_are_not_written,
                an_apply_that_has_to_be_confirmed_is_undone_only_until_it_is,
                a_thousand_devices_are_made_whole_in_one_piece_of_work,
                tunnels_are_as_a_document_says_and_as_they_were_when_it_is_undone,
                what_a_document_takes_from_one_tunnel_another_may_have,
                ports_that_a_document_cannot_have_are_told_by_code_before_and_when_it_is_applied,
            }
            concurrency {
                clients_that_come_at_the_same_time_get_different_lowest_ports,
                of_many_equal_writes_one_wins_and_the_others_are_told,
                an_exhausted_range_says_so_and_changes_nothing,
            }
            people {
                a_user_is_found_by_name_changed_and_gone,
                a_change_of_a_former_revision_changes_nothing,
                the_last_admin_is_neither_removed_nor_demoted,
                a_session_ends_with_what_it_was_opened_for,
                sessions_are_forgotten_when_they_are_old_or_too_many,
                an_answer_is_claimed_once_kept_and_given_to_the_same_request,
                of_many_who_claim_the_same_answer_one_gets_it,
            }
            events {
                every_change_is_told_with_who_wanted_it_and_what_became_another,
                what_did_not_happen_is_not_told,
                a_state_is_told_when_it_changes_and_a_way_out_when_it_is_another,
                whatever_closes_a_device_is_told_as_its_reason,
                health_is_told_when_its_status_or_exit_is_another_and_exits_with_it,
                the_journal_tells_where_a_client_got_out_at_a_time_and_why,
                a_time_in_which_nobody_watched_is_told_as_such,
                the_journal_is_read_by_what_it_tells_of_newest_first,
                the_log_is_bounded_and_keeps_where_each_client_gets_out,
                an_event_of_a_clock_that_was_behind_takes_none_before_it_along,
                what_the_agent_tells_is_written_with_how_far_it_was_heard,
                who_waits_for_what_is_written_is_told_of_each_commit,
            }
            tunnels {
                a_tunnel_is_read_back_and_told_to_its_daemon_as_it_was_written,
                a_port_is_given_once_and_a_quota_holds,
                what_the_daemon_says_is_written_once_and_told_when_it_is_news,
                what_clients_ask_for_in_vain_keeps_nobody_from_being_seen,
                a_code_makes_one_token_known_and_takes_the_others_with_it,
                a_tunnel_is_verified_once_in_time_and_not_by_guessing,
            }
            webhooks {
                a_webhook_is_read_back_without_its_secret_and_changed_by_revision,
                a_webhook_is_told_what_happens_after_it_was_made_and_from_where_it_was_told,
            }
        }
    };
}
pub(super) use {every_store_test, store_suite};

fn ports() -> PortRange {
    PortRange::spanning(15001, 15999)
}

fn new_proxy(name: &str) -> NewProxy {
    NewProxy {
        name: name.to_owned(),
        scheme: Scheme::Socks5,
        host: "proxy.example".parse().unwrap(),
        port: 1080,
        username: Some("bob".to_owned()),
        password: Some(Secret::new("hunter2")),
        enabled: true,
        note: "a note".to_owned(),
        labels: BTreeMap::from([("country".to_owned(), "de".to_owned())]),
    }
}

/// For the tests that only one of the databases has.
pub(super) fn proxy() -> NewProxy {
    NewProxy {
        name: "de1".into(),
        scheme: Scheme::Http,
        host: "proxy.example".parse().unwrap(),
        port: 3128,
        username: Some("bob".into()),
        password: Some(Secret::new("correct horse")),
        enabled: true,
        note: String::new(),
        labels: Default::default(),
    }
}

fn new_client(last: u8) -> NewClient {
    NewClient {
        name: format!("phone {last}"),
        ip_cidr: format!("192.168.2.{last}").parse().unwrap(),
        mac: None,
        note: String::new(),
        gateway: None,
    }
}

fn between(client: &Client, proxy: &Proxy) -> NewMapping {
    NewMapping {
        client_id: client.id,
        proxy_id: proxy.id,
        priority: 100,
        target: Target::Original,
        enabled: true,
        expect: Expect::default(),
        exclusive: false,
    }
}

async fn mapped(store: &dyn Store, last: u8, proxy: &Proxy) -> (Client, Mapping) {
    let client = store.create_client(new_client(last)).await.unwrap();
    let mapping = store.create_mapping(between(&client, proxy), &ports()).await.unwrap();
    (client, mapping)
}

#[track_caller]
fn clients(owners: Result<Vec<Owner>, StoreError>) -> Vec<ClientId> {
    owners.unwrap().into_iter().map(|owner| owner.client).collect()
}

#[track_caller]
fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) -> Conflict {
    match result {
        Err(StoreError::Conflict(conflict)) => conflict,
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

#[track_caller]
fn not_found<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::NotFound(_))), "{result:?}");
}
