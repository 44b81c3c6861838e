//! Standard input, read by a thread of its own.
//!
//! Tokio's own reader would keep the process alive until the next line comes, even when the command has given up.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

/// How much is read at once, and how many such pieces may wait.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES: usize = 4;

/// The reading end.
#[derive(Debug)]
pub(super) struct Stdin {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    taken: usize,
}

impl Stdin {
    /// Starts the thread. It ends with the input, or with the process.
    pub(super) fn start() -> Self {
        let (sender, pieces) = mpsc::channel(PIECES);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = match input.read(&mut piece) {
                    Ok(0) => return,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read.map(|bytes| {
                        piece.truncate(bytes);
                        piece
                    }),
                };
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
            }
        });
        Self { pieces, piece: Vec::new(), taken: 0 }
    }
}

impl AsyncRead for Stdin {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.taken == self.piece.len() {
            match ready!(self.pieces.poll_recv(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(piece) => {
                    self.piece = piece?;
                    self.taken = 0;
                }
            }
        }
        let rest = &self.piece[self.taken..];
        let some = rest.len().min(into.remaining());
        into.put_slice(&rest[..some]);
        self.taken += some;
        Poll::Ready(Ok(()))
    }
}
