"""The test bed: builds, boots, enters and removes throwaway Debian machines."""
