//! What `aurora-discovery` prints without arguments: what to do first.

/// At most 80 columns and 23 lines, which leaves a line for the prompt on a terminal of 24 lines.
pub(crate) const GUIDE: &str = "\
Aurora Discovery, a service through which the peers of a network find each other

Watch a network for a minute, without installing anything else:
  aurora-discovery demo

Run a service, and leave it running; it listens on http://127.0.0.1:8080:
  aurora-discovery serve --memory

Then, in another terminal, keep a peer registered and list the network:
  aurora-discovery keep alice --port 9000 --archetype pepino
  aurora-discovery discover

Keep a peer registered for as long as a program of yours runs:
  aurora-discovery keep alice --port 9000 -- python3 -m http.server 9000

If something does not work:
  aurora-discovery doctor

`aurora-discovery help` lists all commands, and `help COMMAND` explains one.
";

/// The exit codes, below the help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  failure: the service refused or did not respond, or a check failed
  2  a mistake on the command line or in the settings
`keep -- COMMAND` ends with the exit code of its program.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_fits_a_small_terminal() {
        assert!(GUIDE.lines().count() <= 23);
        for line in GUIDE.lines().chain(EXIT_CODES.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
