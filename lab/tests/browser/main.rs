//! The pages of pgw-ui in a real browser (Debian's Chromium), before a whole gateway in a lab: each
//! test plays one story of `ui/web/browser/stories`. `cargo xtask test` installs what is needed;
//! `cargo test -p pgw-lab --test browser -- phone` plays those with that word in their name.
//! Pictures of what was seen are in `target/screens`.

#[path = "../e2e/harness.rs"]
mod harness;
mod play;

use std::process::ExitCode;

use harness::Test;
use play::play;

const STORIES: &[Test] = &[
    Test {
        name: "whoever_comes_first_sets_a_password_imports_maps_and_sees_it_become_true",
        run: |lab| Box::pin(play(lab, "first_run")),
    },
    Test {
        name: "the_quick_start_can_be_followed_word_by_word",
        run: |lab| Box::pin(play(lab, "quick_start")),
    },
    Test {
        name: "a_device_is_shown_open_when_it_is_and_never_because_it_was_asked_for",
        run: |lab| Box::pin(play(lab, "truth")),
    },
    Test {
        name: "what_is_removed_can_be_taken_back_and_a_document_is_applied_after_its_plan",
        run: |lab| Box::pin(play(lab, "second_thoughts")),
    },
    Test { name: "everything_can_be_done_by_keys_alone", run: |lab| Box::pin(play(lab, "keyboard")) },
    Test { name: "every_page_fits_a_phone_in_every_language", run: |lab| Box::pin(play(lab, "phone")) },
    Test {
        name: "no_page_shuts_anybody_out_or_complains_in_either_theme",
        run: |lab| Box::pin(play(lab, "looks")),
    },
    Test {
        name: "a_session_that_ends_in_the_middle_of_a_form_loses_nothing",
        run: |lab| Box::pin(play(lab, "expired")),
    },
    Test {
        name: "a_silent_service_is_told_and_its_return_is_noticed",
        run: |lab| Box::pin(play(lab, "silence")),
    },
    Test {
        name: "two_people_at_one_thing_are_told_of_each_other",
        run: |lab| Box::pin(play(lab, "conflicts")),
    },
    Test {
        name: "what_strangers_write_is_text_and_a_huge_paste_is_taken_or_refused_in_words",
        run: |lab| Box::pin(play(lab, "hostile")),
    },
    Test {
        name: "who_expects_an_exit_sees_why_it_is_closed_and_opens_it_in_place",
        run: |lab| Box::pin(play(lab, "conditions")),
    },
    Test {
        name: "people_are_let_in_given_another_password_and_shown_only_what_they_may_do",
        run: |lab| Box::pin(play(lab, "people")),
    },
    Test {
        name: "a_tunnel_takes_three_clicks_and_opens_when_somebody_has_confirmed_it",
        run: |lab| Box::pin(play(lab, "tunnels")),
    },
    Test {
        name: "a_thousand_devices_are_searched_as_they_are_typed",
        run: |lab| Box::pin(play(lab, "crowd")),
    },
];

fn main() -> ExitCode {
    harness::main(&[STORIES])
}
