//! One suite for every store: each case runs on the embedded one and on a real etcd. What only one of them does
//! stands behind.

#[path = "suite/cases.rs"]
mod cases;
#[path = "suite/etcd.rs"]
mod etcd;
#[path = "suite/leases.rs"]
mod leases;
#[path = "suite/member.rs"]
mod member;
#[path = "suite/proxy.rs"]
mod proxy;
#[path = "suite/stores.rs"]
mod stores;

macro_rules! suite {
    ($($file:ident: $($case:ident,)*;)*) => {
        mod on_embedded {
            $($(#[tokio::test]
            async fn $case() {
                crate::$file::$case(crate::stores::Backend::embedded()).await;
            })*)*
        }

        mod on_etcd {
            $($(#[tokio::test]
            async fn $case() {
                crate::$file::$case(crate::stores::Backend::etcd()).await;
            })*)*
        }
    };
}

suite! {
    cases:
    a_write_happens_only_where_its_precondition_holds,
    of_writers_that_race_exactly_one_wins_each_revision,
    pages_of_a_list_show_one_revision_while_the_store_changes,
    watches_from_revisions_that_are_too_old_are_refused,
    the_ring_is_bounded_in_bytes_too,
    a_watch_shows_every_change_of_its_prefix_in_order_and_resumes_anywhere,
    watches_of_keys_and_prefixes_of_any_length_get_only_what_is_theirs,
    a_silent_watch_says_how_far_it_is_from_time_to_time,
    a_slow_watcher_is_cut_off_after_what_it_holds_and_the_others_go_on,
    what_was_written_is_there_when_the_store_is_opened_again,
    values_of_every_size_come_back_as_they_were,
    secrets_are_encrypted_and_their_keys_are_rotated,
    ;
    leases:
    a_value_goes_after_its_time_by_a_deletion_that_watches_see,
    who_writes_a_key_again_begins_its_time_anew_or_ends_it,
    values_that_are_written_together_share_a_lease_up_to_a_thousand,
    a_time_to_live_outlasts_a_crash_and_a_restart,
    ;
}
