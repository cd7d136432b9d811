//! What the demonstration prints.

/// A report on standard output that remembers what went wrong.
#[derive(Debug, Default)]
pub(super) struct Report {
    failures: Vec<String>,
}

impl Report {
    /// Begins a chapter.
    pub(super) fn chapter(&mut self, title: &str) {
        println!("\n== {title}");
    }

    /// Says something.
    pub(super) fn say(&mut self, text: &str) {
        println!("   {text}");
    }

    /// Says something that must hold.
    pub(super) fn check(&mut self, holds: bool, text: &str) {
        if holds {
            println!("ok {text}");
        } else {
            self.failed(text);
        }
    }

    /// Says what went wrong.
    pub(super) fn failed(&mut self, text: &str) {
        println!("FAILED {text}");
        self.failures.push(text.to_owned());
    }

    /// Prints the sum of it. True if nothing went wrong.
    pub(super) fn close(&self) -> bool {
        println!();
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        if self.failures.is_empty() {
            println!("Everything was as it should be.");
        }
        self.failures.is_empty()
    }
}
