//! The debug pages below `/debug/api_priority_and_fairness/`, in kube-apiserver's form.

use super::figures::table;
use super::queues::{Id, QueueView, Width};
use super::{Details, Inner};

/// A page; `None` where there is none of that name.
pub fn page(inner: &Inner, name: &str, with_details: bool) -> Option<String> {
    let rows = match name {
        "dump_priority_levels" => levels(inner),
        "dump_queues" => queues(inner),
        "dump_requests" => requests(inner, with_details),
        _ => return None,
    };
    Some(table(&rows))
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn levels(inner: &Inner) -> Vec<Vec<String>> {
    let mut rows = vec![head(&[
        "PriorityLevelName",
        "ActiveQueues",
        "IsIdle",
        "IsQuiescing",
        "WaitingRequests",
        "ExecutingRequests",
    ])];
    for (name, level) in inner.dispatcher.levels() {
        let active = level.set.view().iter().filter(|queue| !queue.waiting.is_empty()).count();
        rows.push(vec![
            name.to_string(),
            active.to_string(),
            level.set.is_idle().to_string(),
            level.quiescing.to_string(),
            level.set.waiting().to_string(),
            level.set.executing().to_string(),
        ]);
    }
    rows
}

fn queues(inner: &Inner) -> Vec<Vec<String>> {
    let mut rows = vec![head(&[
        "PriorityLevelName",
        "Index",
        "PendingRequests",
        "ExecutingRequests",
        "SeatsInUse",
        "NextDispatchR",
        "InitialSeatsSum",
        "MaxSeatsSum",
        "TotalWorkSum",
    ])];
    for (name, level) in inner.dispatcher.levels() {
        for (index, queue) in level.set.view().iter().enumerate() {
            let sum = |of: fn(&Width) -> u32| queue.waiting.iter().map(|(_, width)| of(width)).sum::<u32>();
            rows.push(vec![
                name.to_string(),
                index.to_string(),
                queue.waiting.len().to_string(),
                queue.executing.to_string(),
                queue.seats_in_use.to_string(),
                seat_seconds(queue.next_start),
                sum(|width| width.seats).to_string(),
                sum(Width::most).to_string(),
                seat_seconds(queue.work),
            ]);
        }
    }
    rows
}

fn seat_seconds(value: f64) -> String {
    format!("{value:.8}ss")
}

fn requests(inner: &Inner, with_details: bool) -> Vec<Vec<String>> {
    let mut header = head(&[
        "PriorityLevelName",
        "FlowSchemaName",
        "QueueIndex",
        "RequestIndexInQueue",
        "FlowDistingsher",
        "ArriveTime",
        "InitialSeats",
        "FinalSeats",
        "AdditionalLatency",
    ]);
    if with_details {
        header.extend(head(&[
            "UserName",
            "Verb",
            "APIPath",
            "Namespace",
            "Name",
            "APIVersion",
            "Resource",
            "SubResource",
        ]));
    }
    let mut rows = vec![header];
    for (name, level) in inner.dispatcher.levels() {
        for (index, queue) in level.set.view().iter().enumerate() {
            rows.extend(of_queue(inner, name, index, queue, with_details));
        }
    }
    rows
}

fn of_queue(inner: &Inner, level: &str, index: usize, queue: &QueueView, with_details: bool) -> Vec<Vec<String>> {
    let waiting = queue.waiting.iter().enumerate();
    let rows = waiting.filter_map(|(at, (id, width)): (usize, &(Id, Width))| {
        let details = &inner.waiters.get(id)?.details;
        let mut row = vec![
            level.to_string(),
            details.pair.1.to_string(),
            index.to_string(),
            at.to_string(),
            details.flow.clone(),
            details.arrived.to_string(),
            width.seats.to_string(),
            width.final_seats.to_string(),
            format!("{}ms", width.final_for.as_millis()),
        ];
        if with_details {
            row.extend(of_request(details));
        }
        Some(row)
    });
    rows.collect()
}

fn of_request(details: &Details) -> Vec<String> {
    let info = &details.info;
    let version = match info.group.as_str() {
        "" => info.version.clone(),
        group => format!("{group}/{}", info.version),
    };
    [&details.user, &info.verb, &info.path, &info.namespace, &info.name, &version, &info.resource, &info.subresource]
        .map(String::clone)
        .to_vec()
}
