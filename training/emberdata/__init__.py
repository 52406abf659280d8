"""The text that ember is trained on, made by rules from small tables; `mix` joins the categories."""
