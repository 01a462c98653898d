//! CronJob.

use super::simple::Simple;
use crate::read;
use crate::table::{
    CONTAINER_COLUMNS, NONE, age, age_column, column, container_cells, name, name_column, selector, since, text,
    text_or, time_at, wide,
};

/// The behaviour of CronJobs.
pub static CRON_JOB: Simple = Simple {
    columns: &[
        name_column(),
        text("Schedule", "When jobs are made."),
        text("Timezone", "The time zone of the schedule."),
        text("Suspend", "Whether no jobs are made for now."),
        column("Active", "integer", "How many of its jobs run."),
        text("Last Schedule", "The time since a job was last due."),
        age_column(),
        CONTAINER_COLUMNS[0],
        CONTAINER_COLUMNS[1],
        wide("Selector", "The labels of its pods."),
    ],
    cells: |object, now| {
        let [containers, images] = container_cells(object, "spec.jobTemplate.spec.template.spec");
        let last = time_at(object, "status.lastScheduleTime");
        let suspended = if read::flag(object, "spec.suspend") { "True" } else { "False" };
        vec![
            name(object),
            read::text(object, "spec.schedule").into(),
            text_or(object, "spec.timeZone", NONE).into(),
            suspended.into(),
            read::list(object, "status.active").len().into(),
            last.map_or_else(|| NONE.to_string(), |last| since(Some(last), now)).into(),
            age(object, now),
            containers,
            images,
            selector(read::at(object, "spec.jobTemplate.spec.selector")).into(),
        ]
    },
    has_generation: true,
    ..Simple::PLAIN
};
