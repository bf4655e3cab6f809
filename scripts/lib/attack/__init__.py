"""The parts of scripts/attack: attackers, honest clients, and measurements of their resources."""
