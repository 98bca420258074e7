pub mod config;
pub mod decode;
pub mod detect;
pub mod event;
pub mod incident;
pub mod record;
pub mod simulate;
