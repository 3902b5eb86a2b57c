//! The little of the X11 protocol that tells a living display from a dead one.
//!
//! Source: X Window System Protocol, X Version 11, sections 8 (connection setup) and 10 (requests), and its encoding
//! appendix. All numbers are sent little-endian, as announced by the first byte of the setup request.

use crate::check::plain;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// `InternAtom`.
const INTERN_ATOM: u8 = 16;
/// `GetProperty`.
const GET_PROPERTY: u8 = 20;
/// The longest answer that is read; a setup with many screens stays far below it.
const MAX_ANSWER: usize = 256 * 1024;
/// So many events may come before an answer; we select none, so this only bounds a mad server.
const MAX_EVENTS: usize = 64;

/// The first screen of a display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Its root window.
    pub root: u32,
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
}

/// A connection to an X server that has completed the handshake.
pub struct Connection {
    stream: UnixStream,
    display: u16,
    screen: Screen,
}

/// A property's value as it came.
struct Property {
    format: u8,
    value: Vec<u8>,
}

impl Connection {
    /// Connects to the display's socket and shakes hands.
    pub fn open(display: u16, patience: Duration) -> Result<Self, String> {
        let path = format!("/tmp/.X11-unix/X{display}");
        let stream = UnixStream::connect(&path).map_err(|error| format!("{path}: {}", plain(&error)))?;
        let timed = stream.set_read_timeout(Some(patience)).and_then(|()| stream.set_write_timeout(Some(patience)));
        timed.map_err(|error| format!("{path}: {}", plain(&error)))?;
        let screen = Screen { root: 0, width: 0, height: 0 };
        let mut connection = Self { stream, display, screen };
        connection.screen = connection.handshake()?;
        Ok(connection)
    }

    /// The first screen.
    pub fn screen(&self) -> Screen {
        self.screen
    }

    /// The name of the window manager that owns the display, by the check window of the Extended Window Manager
    /// Hints: the root names a window that must exist and name itself. A dead manager's window is gone.
    pub fn window_manager(&mut self) -> Result<String, String> {
        let check = self.atom("_NET_SUPPORTING_WM_CHECK")?;
        let nobody = format!("display :{} has no window manager", self.display);
        let window = self.property(self.screen.root, check)?.and_then(|p| p.window()).ok_or(nobody)?;
        let gone = format!("display :{}: the window manager's check window is gone", self.display);
        let echo = self.property(window, check)?.and_then(|p| p.window());
        if echo != Some(window) {
            return Err(gone);
        }
        let name_atom = self.atom("_NET_WM_NAME")?;
        let name = self.property(window, name_atom)?.map_or_else(String::new, |p| p.text());
        Ok(format!(
            "display :{} is managed by {}",
            self.display,
            if name.is_empty() { "an unnamed manager" } else { &name }
        ))
    }

    fn handshake(&mut self) -> Result<Screen, String> {
        self.send(&[b'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        let head = self.receive(8)?;
        let units = u16_at(&head, 6).map_or(0, usize::from);
        let body = self.receive(units * 4)?;
        match head.first() {
            Some(1) => screen(&body).ok_or_else(|| format!("display :{} sent a broken setup", self.display)),
            Some(0) => {
                let length = head.get(1).map_or(0, |&n| usize::from(n));
                let reason = String::from_utf8_lossy(body.get(..length).unwrap_or(&body)).trim().to_owned();
                Err(format!("display :{} refused the connection: {reason}", self.display))
            }
            _ => Err(format!("display :{} asks for authentication", self.display)),
        }
    }

    /// The number of a name, 0 when no client ever used it.
    fn atom(&mut self, name: &str) -> Result<u32, String> {
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let units = 2 + length.div_ceil(4);
        let mut request = vec![INTERN_ATOM, 1];
        request.extend(units.to_le_bytes());
        request.extend(length.to_le_bytes());
        request.extend([0, 0]);
        request.extend(name.as_bytes());
        request.resize(usize::from(units) * 4, 0);
        self.send(&request)?;
        Ok(self.answer()?.and_then(|answer| u32_at(&answer, 8)).unwrap_or(0))
    }

    /// A property of a window; none when either does not exist.
    fn property(&mut self, window: u32, property: u32) -> Result<Option<Property>, String> {
        let mut request = vec![GET_PROPERTY, 0, 6, 0];
        for number in [window, property, 0, 0, 64] {
            request.extend(number.to_le_bytes());
        }
        self.send(&request)?;
        let Some(answer) = self.answer()? else { return Ok(None) };
        let format = answer.get(1).copied().unwrap_or(0);
        let count = u32_at(&answer, 16).map_or(0, |n| n as usize);
        let length = count.saturating_mul(usize::from(format / 8));
        let value = answer.get(32..).and_then(|rest| rest.get(..length));
        Ok(value.filter(|_| format != 0).map(|value| Property { format, value: value.to_vec() }))
    }

    /// The answer to the last request; none when the server answered with an error (a window that is gone).
    fn answer(&mut self) -> Result<Option<Vec<u8>>, String> {
        for _ in 0..MAX_EVENTS {
            let mut head = self.receive(32)?;
            match head.first() {
                Some(0) => return Ok(None),
                Some(1) => {
                    let more = u32_at(&head, 4).map_or(0, |n| n as usize).saturating_mul(4);
                    head.extend(self.receive(more)?);
                    return Ok(Some(head));
                }
                _ => {}
            }
        }
        Err(format!("display :{} sends events instead of an answer", self.display))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| self.broken(&error))
    }

    fn receive(&mut self, length: usize) -> Result<Vec<u8>, String> {
        if length > MAX_ANSWER {
            return Err(format!("display :{} announced an answer of {length} bytes", self.display));
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).map_err(|error| self.broken(&error))?;
        Ok(bytes)
    }

    fn broken(&self, error: &std::io::Error) -> String {
        format!("display :{} does not speak: {}", self.display, plain(error))
    }
}

impl Property {
    fn window(&self) -> Option<u32> {
        (self.format == 32).then(|| u32_at(&self.value, 0)).flatten()
    }

    fn text(&self) -> String {
        if self.format == 8 { String::from_utf8_lossy(&self.value).into_owned() } else { String::new() }
    }
}

/// The first screen in the body of a successful setup.
pub fn screen(body: &[u8]) -> Option<Screen> {
    let vendor = usize::from(u16_at(body, 16)?).next_multiple_of(4);
    let formats = usize::from(*body.get(21)?) * 8;
    let screen = body.get(32 + vendor + formats..)?;
    Some(Screen { root: u32_at(screen, 0)?, width: u16_at(screen, 20)?, height: u16_at(screen, 22)? })
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_screen_is_found_behind_vendor_and_formats() {
        let mut body = vec![0; 32];
        body[16] = 5; // vendor length, padded to 8
        body[21] = 2; // formats
        body.extend([0; 8 + 16]);
        let mut bytes = [0; 40];
        bytes[..4].copy_from_slice(&0x4d7_u32.to_le_bytes());
        bytes[20..22].copy_from_slice(&1280_u16.to_le_bytes());
        bytes[22..24].copy_from_slice(&800_u16.to_le_bytes());
        body.extend(bytes);
        assert_eq!(screen(&body), Some(Screen { root: 0x4d7, width: 1280, height: 800 }));
    }

    #[test]
    fn a_setup_that_is_cut_anywhere_is_no_screen() {
        let mut body = [0; 32 + 40];
        body[16] = 255;
        body[17] = 255;
        body[21] = 255;
        for length in 0..body.len() {
            assert_eq!(screen(&body[..length]), None);
        }
    }

    #[test]
    fn a_display_without_a_socket_is_named() {
        let error = Connection::open(64_999, Duration::from_millis(10)).err().unwrap();
        assert_eq!(error, "/tmp/.X11-unix/X64999: no such socket");
    }
}
