//! What the bench prints.

/// One figure, and what it stands against.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) alternative: String,
    pub(crate) ratio: Option<f64>,
    pub(crate) claim: &'static str,
    pub(crate) holds: Option<bool>,
}

/// The figures of one engine.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Something that explains a figure; printed below the table.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    pub(crate) fn print(&self) {
        print_line(["what", "ours", "alternative", "ratio", "claim", ""]);
        for row in &self.rows {
            let ratio = row.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
            let verdict = match row.holds {
                Some(true) => "ok",
                Some(false) => "NOT MET",
                None => "",
            };
            print_line([&row.what, &row.ours, &row.alternative, &ratio, row.claim, verdict]);
        }
        for note in &self.notes {
            println!("  {note}");
        }
        println!();
    }
}

fn print_line([what, ours, alternative, ratio, claim, verdict]: [&str; 6]) {
    println!("  {what:<42} {ours:>8}   {alternative:<38} {ratio:>5}   {claim:<12} {verdict}");
}
