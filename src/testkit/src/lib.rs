//! What tests share: never imported by what ships.

pub mod netns;
