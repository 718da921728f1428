"""Other places that engines are kept: registries, object stores, web servers, directories, and the hub."""
