//! Tables for people: no lines but the one below the head.

use comfy_table::{ContentArrangement, Table};

/// A table with this head.
pub(super) fn with_head<const N: usize>(head: [&str; N]) -> Table {
    let mut table = bare();
    table.set_header(head.map(str::to_uppercase));
    table
}

/// A table of names and values.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = bare();
    for (name, value) in facts {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn bare() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table
}
