"""The central database: who exists, which chat belongs to which agent, which sessions there are."""
