//! An input as a row of choices. When it ends, every choice is the first one.

/// What is left of an input.
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// A number below 65536.
    pub fn short(&mut self) -> usize {
        self.take(2).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    /// The next bytes, as many as there are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One of several; there must be one.
    pub fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        let choice = if of.len() > 256 { self.short() } else { usize::from(self.byte()) };
        &of[choice % of.len()]
    }

    /// Bytes up to the next 0xff, which no text has.
    pub fn bytes(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0xff);
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        taken
    }

    /// A number that is often at an edge.
    pub fn number(&mut self) -> u64 {
        const EDGES: [u64; 24] = [
            0, 1, 2, 3, 4, 7, 8, 12, 64, 127, 128, 255, 256, 1023, 1024, 4095, 4096, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff,
            0x1_0000_0000, u64::MAX >> 1, u64::MAX,
        ];
        match self.byte() {
            choice @ 0..=159 => EDGES[usize::from(choice) % EDGES.len()],
            160..=199 => u64::from(self.byte()),
            200..=229 => self.short() as u64,
            _ => self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }
}
