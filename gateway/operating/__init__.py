"""What operators are shown, part by part; gateway/operator_views.py puts it together."""
