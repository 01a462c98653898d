//! The real API server, controllers and scheduler in one process, with nodes that only pretend to run pods, driven
//! by the real kubectl.

mod accounts;
mod budgets;
mod certificates;
mod garbage;
mod jobs;
mod migrations;
mod nodes;
mod quotas;
mod services;
mod stateful;
mod storage;
mod support;
mod workloads;
