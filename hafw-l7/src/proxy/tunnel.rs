//! A connection that has gone over to another protocol, such as WebSocket: bytes pass both ways
//! until one end closes or nothing has passed for as long as a server may be silent.

use std::{future::poll_fn, task::Poll};

use super::{
    duplex::{Download, DownloadError, Upload},
    generation::Turn,
    intake::Exchange,
    session::{End, Session},
    wire::Wire,
};
use crate::{http1::Body, plan::Limits, retry::Millis, upstream::Outcome};

impl Session {
    /// Passes bytes on after the head of the answer, which `download` has.
    pub(super) async fn tunnel(
        &mut self,
        exchange: &Exchange,
        mut turn: Turn,
        mut server: Wire,
        mut download: Download,
    ) -> End {
        // The client's silence is not limited by itself.
        let limits = Limits {
            client_body: Millis::MAX,
            ..exchange.limits()
        };
        let buffers = std::rc::Rc::clone(&self.shared.buffers);
        let first = self.block.take();
        let mut rest = None;
        let begun = Upload::begin(Body::UntilClose, first, limits, &buffers, &mut rest);
        let Ok(mut upload) = begun else {
            return End::Close;
        };
        download.wait_for_client(&self.timer);
        let ended = poll_fn(|context| {
            let (timer, client) = (&self.timer, &mut self.stream);
            let before = upload.sent;
            let up = upload.poll(context, client, &mut server, timer, &buffers, &mut rest);
            if up.is_ready() {
                return Poll::Ready(Err(DownloadError::ClientGone));
            }
            if upload.sent > before {
                download.wait_for_server(timer);
            }
            let down = download.poll(context, client, Some(&mut server), timer, &buffers);
            if down.is_pending() {
                timer.arm_at(upload.deadline().min(download.deadline()));
            }
            down
        })
        .await;
        self.shared
            .count(|totals| totals.bytes_sent += download.sent);
        turn.release(Outcome::Served, self.shared.timers.now());
        match ended {
            Ok(()) | Err(DownloadError::ClientGone) => End::Close,
            Err(DownloadError::ClientTimeout | DownloadError::Truncated) => End::Reset,
        }
    }
}
