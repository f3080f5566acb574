"""Who may call: hosts and origins, local callers. (Keys and scopes join later.)"""
