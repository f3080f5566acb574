"""Who may call: from where (access), as whom (authenticate), for what (permission)."""
