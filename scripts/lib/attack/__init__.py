"""The parts of scripts/attack: attackers, honest clients, and what the attacks cost."""
