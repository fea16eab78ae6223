//! `[design]` and `[fixed]`: toggles, their levels, and the time.

use super::wire::{Wire, WireDesign};
use super::{Design, Error, Source, Time};
use crate::toggle::{Levels, Toggle};
use crate::units;
use std::time::Duration;
use toml::Spanned;

/// The listed toggles with their *on* level.
pub fn toggles(source: &Source<'_>, wire: &WireDesign) -> Result<Vec<(Toggle, u32)>, Error> {
    let mut listed: Vec<(Toggle, u32)> = Vec::new();
    for item in &wire.toggles {
        let toggle = source.read("[design] toggles", item, |k| Toggle::parse(k))?;
        if listed.iter().any(|(t, _)| *t == toggle) {
            return Err(source.fail(item.span(), format!("[design] toggles: {} is listed twice", toggle.key())));
        }
        listed.push((toggle, toggle.spec().on));
    }
    for (key, value) in &wire.on {
        let toggle = source.read("[design] on", key, |k| Toggle::parse(k))?;
        let level = source.level(toggle, value)?;
        let place = listed.iter_mut().find(|(t, _)| *t == toggle);
        match place {
            None => return Err(source.fail(key.span(), format!("[design] on: {} is not among the toggles", toggle.key()))),
            Some(_) if level == toggle.spec().off => {
                return Err(source.fail(value.span(), format!("[design] on: {} is its off level", toggle.key())));
            }
            Some(place) => place.1 = level,
        }
    }
    Ok(listed)
}

/// The levels that a sweep takes.
pub fn sweep(source: &Source<'_>, wire: &WireDesign, listed: &[(Toggle, u32)]) -> Result<Vec<(Toggle, Vec<u32>)>, Error> {
    let mut sweep = Vec::new();
    for (key, levels) in &wire.levels {
        let toggle = source.read("[design] levels", key, |k| Toggle::parse(k))?;
        if listed.iter().all(|(t, _)| *t != toggle) {
            return Err(source.fail(key.span(), format!("[design] levels: {} is not among the toggles", toggle.key())));
        }
        sweep.push((toggle, source.list("[design] levels", levels, |text| toggle.spec().parse_level(text))?));
    }
    if wire.kind.contains(&Design::Sweep) == sweep.is_empty() {
        let message = "[design] kind = \"sweep\" and levels go together, for example levels = { batch_submit = [1, 4, 16, 64] }";
        let place = wire.levels.keys().next().or(wire.toggles.first()).map_or(0..0, Spanned::span);
        return Err(source.fail(place, message));
    }
    Ok(sweep)
}

/// Levels of what is not listed.
pub fn fixed(source: &Source<'_>, wire: &Wire) -> Result<Levels, Error> {
    let mut levels = Levels::all_off();
    for (key, value) in &wire.fixed {
        let toggle = source.read("[fixed]", key, |k| Toggle::parse(k))?;
        if wire.design.toggles.iter().any(|t| t.get_ref() == toggle.key()) {
            return Err(source.fail(key.span(), format!("[fixed] {} is also among the toggles", toggle.key())));
        }
        levels = levels.with(toggle, source.level(toggle, value)?);
    }
    Ok(levels)
}

/// How long the slices take.
pub fn time(source: &Source<'_>, wire: &WireDesign) -> Result<Time, Error> {
    match (&wire.round_time, &wire.budget) {
        (Some(_), Some(budget)) => Err(source.fail(budget.span(), "[design] has both round_time and budget; keep one")),
        (None, Some(budget)) => source.read("budget", budget, |t| units::duration(t)).map(Time::Budget),
        (round, None) => source.duration("round_time", round.as_ref(), Duration::from_secs(5)).map(Time::Round),
    }
}
