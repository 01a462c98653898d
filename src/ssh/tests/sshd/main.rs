//! Sessions against the real sshd of Debian's openssh-server, and host keys judged as OpenSSH's client does.

mod auth;
mod host_keys;
mod server;
mod sessions;
