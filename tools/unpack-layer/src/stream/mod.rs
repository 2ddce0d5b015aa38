// SPDX-License-Identifier: Apache-2.0
//! Reads, decompresses and hashes layers, on threads in addition to the main thread.
//!
//! The source's thread opens layers and gives them to the [`lane`]s in turn. Each lane reads,
//! decompresses and hashes one layer after the other. The main thread, the caller, uses the
//! archives in the order of the source. While it uses the archive of one lane, the other lane reads
//! the next layer, until all its buffers are full.
//!
//! Decompression takes more time than writing the files. If a processor is free for each thread,
//! two lanes therefore save up to a fifth of the time. The saving is small for an image of few
//! large layers, because most of a large layer does not fit into the buffers.
//!
//! The caller receives bytes before they are verified. After the last byte of a layer was hashed,
//! the caller gets its [`Verdict`], and must compare it with the expected digests.
//!
//! Not here: the archive format, and the compressions (`compress::decode`).

mod buffer;
mod event;
mod hash;
mod lane;
mod layer;
mod read;

use std::io::{BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};

use common::error::{Error, Result, Status};

use event::Item;
pub(crate) use hash::Verdict;
use lane::Lane;
pub(crate) use layer::{Layer, LayerInput, LayerSource, SourceItem, Step};

/// The limits on the bytes that are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The maximum number of bytes of the uncompressed archives of all layers together.
    pub(crate) archive_bytes: Option<u64>,
}

/// The number of lanes: the number of layers that are read at the same time. Two lanes decompress
/// faster than the caller writes files, so a third lane would only wait.
const LANES: usize = 2;

/// The caller's end of the stream: returns steps, and the archive of the current layer as a
/// [`BufRead`].
pub(crate) struct Stream {
    items: Receiver<Result<Item>>,
    lanes: Vec<Lane>,
    /// The lane of the current layer.
    at: usize,
    limits: Limits,
    /// The number of bytes of all archives so far.
    archive_bytes: u64,
}

impl Stream {
    /// Starts the threads. They end when the source ends or the stream is dropped. Dropping does
    /// not wait for them, because the source may be waiting for input.
    pub(crate) fn start(
        source: impl FnOnce() -> Result<LayerSource> + Send + 'static,
        limits: Limits,
    ) -> Result<Stream> {
        let (to_caller, items) = channel();
        let mut lanes = Vec::new();
        let mut to_lanes = Vec::new();
        for _ in 0..LANES {
            let (lane, to_lane) = Lane::start()?;
            lanes.push(lane);
            to_lanes.push(to_lane);
        }
        spawn("source", move || {
            if let Err(error) = distribute(source, &to_lanes, &to_caller) {
                // Sending fails if the caller has ended.
                let _ = to_caller.send(Err(error));
            }
        })?;
        Ok(Stream { items, lanes, at: 0, limits, archive_bytes: 0 })
    }

    /// The next item of the source; `None` at its end.
    pub(crate) fn step(&mut self) -> Result<Option<Step>> {
        match self.items.recv() {
            Err(_) => Ok(None),
            Ok(item) => match item? {
                Item::Step(step) => Ok(Some(step)),
                Item::Lane(number) => {
                    self.at = number;
                    self.lanes[self.at].layer().map(|layer| Some(Step::Layer(layer)))
                }
            },
        }
    }

    /// The verdict on a layer that was read to its end.
    pub(crate) fn verdict(&mut self) -> Result<Verdict> {
        self.lanes[self.at].verdict()
    }

    /// The verdict on a layer that failed with `error` while it was read or applied. If its digest
    /// differs from the expected one, that is the cause of the failure. `None` if the error is not
    /// Malformed, or if the layer could not be hashed to its end.
    pub(crate) fn verdict_after(&mut self, error: &Error) -> Option<Verdict> {
        if error.status() != Status::Malformed || self.is_over_limit() {
            return None;
        }
        self.lanes[self.at].verdict_without_archive()
    }

    /// The error that prevented a verdict, if the rest of the layer's bytes did not arrive.
    pub(crate) fn no_verdict(&mut self) -> Option<Error> {
        self.lanes[self.at].no_verdict()
    }

    fn is_over_limit(&self) -> bool {
        self.limits.archive_bytes.is_some_and(|limit| self.archive_bytes > limit)
    }

    fn receive(&mut self) -> Result<()> {
        self.archive_bytes += self.lanes[self.at].receive()? as u64;
        match self.limits.archive_bytes {
            Some(limit) if self.archive_bytes > limit => {
                Err(Error::malformed(format_args!("more than {limit} bytes (--max-size)")))
            }
            _ => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Stream {
    /// The buffered bytes of the current layer's archive; empty at its end. A failure of the
    /// reading thread is returned as an [`Error`] inside the I/O error.
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.receive().map_err(std::io::Error::other)?;
        Ok(self.lanes[self.at].buffered())
    }

    fn consume(&mut self, count: usize) {
        self.lanes[self.at].consume(count);
    }
}

/// The source's thread: gives the layers to the lanes in turn, and tells the caller the order.
fn distribute(
    source: impl FnOnce() -> Result<LayerSource>,
    lanes: &[SyncSender<LayerInput>],
    caller: &Sender<Result<Item>>,
) -> Result<()> {
    let mut turn = (0..lanes.len()).cycle();
    for item in source()? {
        let sent = match item? {
            SourceItem::Config(line, ids) => caller.send(Ok(Item::Step(Step::Config(line, ids)))),
            SourceItem::Same(lines) => caller.send(Ok(Item::Step(Step::Same(lines)))),
            SourceItem::Layer(layer) => {
                let Some(number) = turn.next() else { return Ok(()) };
                let sent = caller.send(Ok(Item::Lane(number)));
                // Waits until the lane has read its previous layer. Fails if that layer failed: the
                // caller then gets the error from the lane.
                if lanes[number].send(layer).is_err() {
                    return Ok(());
                }
                sent
            }
        };
        if sent.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.map(drop).map_err(|cause| Error::local("start a thread", &cause))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A layer with the given content.
    fn layer(input: impl Read + Send + 'static) -> Result<SourceItem> {
        Ok(SourceItem::Layer(LayerInput {
            name: "layer".to_owned(),
            input: Box::new(input),
            digest: None,
            size: None,
            diff_id: None,
            descriptor: None,
            repair: None,
            arriving: None,
        }))
    }

    fn start(
        items: impl IntoIterator<Item = Result<SourceItem>> + Send + 'static,
        limit: Option<u64>,
    ) -> Stream {
        let source = || -> Result<LayerSource> {
            let items: Vec<_> = items.into_iter().collect();
            Ok(Box::new(items.into_iter()))
        };
        Stream::start(source, Limits { archive_bytes: limit }).unwrap()
    }

    /// The archives of all layers, in order.
    fn archives(mut stream: Stream) -> Result<Vec<Vec<u8>>> {
        let mut archives = Vec::new();
        while let Some(Step::Layer(_)) = stream.step()? {
            let mut archive = Vec::new();
            stream.read_to_end(&mut archive).map_err(|cause| Error::local("read", &cause))?;
            stream.verdict()?;
            archives.push(archive);
        }
        Ok(archives)
    }

    /// Content that is read only after the content of another layer.
    struct After(Receiver<()>, &'static [u8]);

    impl Read for After {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            // The sender is dropped when the other content was read.
            let _ = self.0.recv();
            self.1.read(buffer)
        }
    }

    /// Content that reports when it was read.
    struct Before(Option<Sender<()>>, &'static [u8]);

    impl Read for Before {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 = None;
            self.1.read(buffer)
        }
    }

    #[test]
    fn the_second_layer_is_read_while_the_first_is_read() {
        let (sender, receiver) = channel();
        let items = [layer(After(receiver, b"1")), layer(Before(Some(sender), b"2"))];
        assert_eq!(archives(start(items, None)).unwrap(), [b"1", b"2"]);
    }

    #[test]
    fn layers_come_in_the_order_of_the_source() {
        let contents: Vec<Vec<u8>> = (0..20).map(|n| vec![n; 1 + n as usize * 100_000]).collect();
        let items: Vec<_> =
            contents.iter().map(|content| layer(std::io::Cursor::new(content.clone()))).collect();
        assert_eq!(archives(start(items, None)).unwrap(), contents);
    }

    #[test]
    fn an_error_of_the_source_comes_after_the_layers_before_it() {
        let items = [layer(&b"1"[..]), Err(Error::absent("gone")), layer(&b"3"[..])];
        let mut stream = start(items, None);
        assert!(matches!(stream.step(), Ok(Some(Step::Layer(_)))));
        let mut archive = Vec::new();
        stream.read_to_end(&mut archive).unwrap();
        assert_eq!(archive, b"1");
        assert_eq!(stream.step().map(|_| ()).unwrap_err().to_string(), "gone");
    }

    #[test]
    fn the_limit_is_for_the_archives_of_all_layers_together() {
        let items = || [layer(&b"12"[..]), layer(&b"345"[..])];
        assert_eq!(archives(start(items(), Some(5))).unwrap().concat(), b"12345");
        let error = archives(start(items(), Some(4))).unwrap_err();
        assert!(error.to_string().contains("more than 4 bytes (--max-size)"), "{error}");
    }
}
