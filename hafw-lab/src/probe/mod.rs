//! Measuring what a client sees, and who answers for a VIP.
//!
//! A probe runs on a thread in a host's namespace, through that host's own stack and neighbour
//! table, until it is stopped. Times of arrival are the kernel's.

mod clock;
mod crowd;
mod discovery;
mod download;
mod flow;
mod http;
mod observer;
mod report;
mod tcp;
mod udp;

pub use crowd::Crowd;
pub use download::Download;
pub use flow::Flow;
pub use http::{HttpProbe, Request};
pub use observer::{Event, Observation, Observer, Seen, Tenure};
pub use report::{Gap, PATIENCE, Report, Sample};
pub use tcp::TcpProbe;
pub(crate) use udp::RECEIVE_BUFFER;
pub use udp::UdpProbe;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use crate::{Host, LabError};

/// A thread in a namespace that works until it is told to stop.
#[derive(Debug)]
struct Task<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<T>>>,
}

impl<T: Send + 'static> Task<T> {
    fn start(
        host: &Host,
        name: &str,
        work: impl FnOnce(&AtomicBool) -> io::Result<T> + Send + 'static,
    ) -> Result<Self, LabError> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = host.namespace().thread(name, move || work(&told));
        let thread = thread.map_err(LabError::io(format!("start the {name}")))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    fn finish(mut self, what: &str) -> Result<T, LabError> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self
            .thread
            .take()
            .expect("only finish and drop take the thread");
        let outcome = thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.map_err(LabError::io(format!("run the {what}")))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
