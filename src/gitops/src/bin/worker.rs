//! The git worker as a program, for the tests beside it.

fn main() -> std::process::ExitCode {
    match git::worker::run(std::io::stdin().lock(), std::io::stdout().lock()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("git-worker: {}", stdx::error::chain(&error));
            std::process::ExitCode::FAILURE
        }
    }
}
