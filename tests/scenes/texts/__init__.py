"""Plans and texts whose words are looked for."""
