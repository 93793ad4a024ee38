"""Agent groups as they exist outside the database: workspace, configuration file, unit files, the gateway's list."""
